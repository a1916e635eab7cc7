#include "snapshot/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "snapshot/reason.h"

void snapshot_free(struct snapshot *sn)
{
	free(sn->parent_path);
	free(sn->devices);
	manifest_free(&sn->machine);
	page_map_free(&sn->pages);
	block_map_free(&sn->blocks);
	*sn = (struct snapshot){0};
}

int snapshot_id_make(struct snapshot_id *id, struct reason *why)
{
	if (getrandom(id->byte, sizeof(id->byte), 0) != sizeof(id->byte))
		return reason_errno(why, errno, "getrandom");
	return 0;
}

const char *snapshot_id_text(const struct snapshot_id *id, char text[ID_TEXT])
{
	for (unsigned int i = 0; i < sizeof(id->byte); i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", id->byte[i]);
	return text;
}
