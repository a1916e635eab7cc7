#include "replay/replay_digest.h"

#include <stdlib.h>

#include "vmm/vm.h"

void replay_digest_init(struct replay_digest *d, struct vm *vm)
{
	state_digest_init(&d->state, &vm->mem, &vm->dirty);
	state_digest_init(&d->probed, &vm->mem, &vm->dirty);
	d->of = 0;
}

int replay_digest_compare(struct replay_digest *d, const struct event *e, uint64_t digests, const struct boundary *at, bool same_paging,
			  enum digest_verdict *v, struct digest_difference *diff)
{
	bool ram = same_paging && e->digest.size && state_digest_can(&d->state);
	int r = ram ? state_digest_take(&d->state) : 0;

	if (r < 0)
		return r;
	*v = digest_compare(e, at, ram ? &d->state : NULL, d->of == digests, diff);
	if (ram)
		d->of = digests + 1;
	return 0;
}

void replay_digest_end(struct replay_digest *d)
{
	state_digest_end(&d->state);
	state_digest_end(&d->probed);
}

void replay_digest_free(struct replay_digest *d)
{
	if (!d)
		return;
	state_digest_free(&d->state);
	state_digest_free(&d->probed);
	free(d);
}
