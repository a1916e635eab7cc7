#include "dedup/codecs.h"

#include <errno.h>

int codecs_init(struct codecs *c)
{
	struct codec *first = codec_create();

	if (!first)
		return -ENOMEM;
	*c = (struct codecs){.idle = {first}, .idle_count = 1, .count = 1};
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->given, NULL);
	return 0;
}

void codecs_destroy(struct codecs *c)
{
	while (c->idle_count)
		codec_destroy(c->idle[--c->idle_count]);
	pthread_cond_destroy(&c->given);
	pthread_mutex_destroy(&c->lock);
}

/* Under the lock. One that cannot be had is no loss while there are others. */
static void make_another(struct codecs *c)
{
	struct codec *codec = c->count < CODECS_MOST ? codec_create() : NULL;

	if (!codec)
		return;
	c->idle[c->idle_count++] = codec;
	c->count++;
}

struct codec *codecs_take(struct codecs *c)
{
	struct codec *codec;

	pthread_mutex_lock(&c->lock);
	if (!c->idle_count)
		make_another(c);
	while (!c->idle_count)
		pthread_cond_wait(&c->given, &c->lock);
	codec = c->idle[--c->idle_count];
	pthread_mutex_unlock(&c->lock);
	return codec;
}

void codecs_give(struct codecs *c, struct codec *codec)
{
	pthread_mutex_lock(&c->lock);
	c->idle[c->idle_count++] = codec;
	pthread_cond_signal(&c->given);
	pthread_mutex_unlock(&c->lock);
}
