#include "snapshot/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

void snapshot_free(struct snapshot *sn)
{
	free(sn->parent_path);
	free(sn->devices);
	manifest_free(&sn->machine);
	page_map_free(&sn->pages);
	block_map_free(&sn->blocks);
	*sn = (struct snapshot){0};
}

const char *snapshot_id_text(const struct snapshot_id *id, char text[ID_TEXT])
{
	for (unsigned int i = 0; i < sizeof(id->byte); i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", id->byte[i]);
	return text;
}
