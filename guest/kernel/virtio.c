#include "guest/kernel/virtio.h"

#include <stddef.h>

#include "guest/abi.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/pic.h"
#include "guest/lib/string.h"

#define REG_MAGIC 0x000u
#define REG_VERSION 0x004u
#define REG_FEATURES 0x010u
#define REG_FEATURES_SELECT 0x014u
#define REG_ACCEPT 0x020u
#define REG_ACCEPT_SELECT 0x024u
#define REG_INTERRUPTS 0x060u
#define REG_ACKNOWLEDGE 0x064u

#define MAGIC 0x74726976u
#define NO_INTERRUPT 1u
#define NO_NOTIFY 1u

static const uint8_t irqs[ABI_VIRTIO_SLOTS] = ABI_VIRTIO_IRQS;

static struct {
	uint64_t interrupts;
	bool mapped;
} virtio;

static volatile uint32_t *reg(unsigned int slot, uint32_t offset)
{
	return (volatile uint32_t *)(ABI_VIRTIO_MMIO + (uint64_t)slot * ABI_VIRTIO_STRIDE + offset);
}

uint32_t virtio_get(const struct virtio *v, uint32_t offset)
{
	return *reg(v->slot, offset);
}

void virtio_set(const struct virtio *v, uint32_t offset, uint32_t value)
{
	*reg(v->slot, offset) = value;
}

uint64_t virtio_interrupts(void)
{
	return virtio.interrupts;
}

bool virtio_find(struct virtio *v, uint32_t device, unsigned int nth)
{
	if (!virtio.mapped)
		paging_map(ABI_VIRTIO_MMIO, PTE_KERNEL_DEVICE);
	virtio.mapped = true;
	memset(v, 0, sizeof(*v));
	for (v->slot = 0; v->slot < ABI_VIRTIO_SLOTS; v->slot++)
		if (virtio_get(v, REG_MAGIC) == MAGIC && virtio_get(v, REG_VERSION) == 2 &&
		    virtio_get(v, VIRTIO_REG_DEVICE) == device && nth-- == 0)
			return true;
	return false;
}

uint64_t virtio_features(const struct virtio *v)
{
	uint64_t features;

	virtio_set(v, REG_FEATURES_SELECT, 0);
	features = virtio_get(v, REG_FEATURES);
	virtio_set(v, REG_FEATURES_SELECT, 1);
	return features | (uint64_t)virtio_get(v, REG_FEATURES) << 32;
}

/* The line says which slot; devices that share the work need no lock, as the kernel runs with interrupts off. */
static void on_interrupt(struct trap_frame *frame)
{
	virtio.interrupts++;
	for (unsigned int slot = 0; slot < ABI_VIRTIO_SLOTS; slot++)
		if (frame->vector == (uint64_t)VECTOR_IRQ + irqs[slot])
			*reg(slot, REG_ACKNOWLEDGE) = *reg(slot, REG_INTERRUPTS);
}

static void set_address(const struct virtio *v, uint32_t offset, const volatile void *at)
{
	virtio_set(v, offset, (uint32_t)(uint64_t)at);
	virtio_set(v, offset + 4, (uint32_t)((uint64_t)at >> 32));
}

static void *ring_page(const volatile void *old)
{
	uint64_t gpa = old != NULL ? (uint64_t)old : page_alloc_zero();

	if (gpa == 0)
		panic("no page for a ring");
	return memset(page_pointer(gpa), 0, PAGE_SIZE);
}

static void start_queue(struct virtio *v, unsigned int n)
{
	struct virtio_rings *q = &v->queue[n];

	q->descriptor = ring_page(q->descriptor);
	q->available = ring_page(q->available);
	q->used = ring_page(q->used);
	q->seen = q->announced = 0;
	virtio_set(v, VIRTIO_REG_QUEUE_SELECT, n);
	virtio_set(v, VIRTIO_REG_QUEUE_SIZE, VIRTIO_SIZE);
	set_address(v, VIRTIO_REG_DESCRIPTORS, q->descriptor);
	set_address(v, VIRTIO_REG_DRIVER, q->available);
	set_address(v, VIRTIO_REG_DEVICE_RING, q->used);
	virtio_set(v, VIRTIO_REG_QUEUE_READY, 1);
}

bool virtio_start(struct virtio *v, uint64_t features, unsigned int queues)
{
	v->features = features | VIRTIO_VERSION_1;
	virtio_set(v, VIRTIO_REG_STATUS, 0);
	virtio_set(v, VIRTIO_REG_STATUS, 1);
	virtio_set(v, VIRTIO_REG_STATUS, 3);
	for (uint32_t i = 0; i < 2; i++) {
		virtio_set(v, REG_ACCEPT_SELECT, i);
		virtio_set(v, REG_ACCEPT, (uint32_t)(v->features >> (32 * i)));
	}
	virtio_set(v, VIRTIO_REG_STATUS, 11);
	if (virtio_get(v, VIRTIO_REG_STATUS) != 11)
		return false;
	for (unsigned int n = 0; n < queues; n++)
		start_queue(v, n);
	pic_enable(irqs[v->slot], on_interrupt);
	virtio_set(v, VIRTIO_REG_STATUS, VIRTIO_STATUS_LIVE);
	return virtio_get(v, VIRTIO_REG_STATUS) == VIRTIO_STATUS_LIVE;
}

void virtio_describe(struct virtio *v, unsigned int queue, unsigned int i, const volatile void *at, uint64_t size,
		     unsigned int flags, unsigned int next)
{
	v->queue[queue].descriptor[i] = (struct virtio_descriptor){
		.gpa = (uint64_t)at, .size = (uint32_t)size, .flags = (uint16_t)flags, .next = (uint16_t)next,
	};
}

void virtio_offer(struct virtio *v, unsigned int queue, unsigned int head)
{
	volatile struct virtio_available *a = v->queue[queue].available;

	a->entry[a->index % VIRTIO_SIZE] = (uint16_t)head;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	a->index++;
}

/* 2.7.10: whether the step from `before` to `after` went over `event`. */
static bool passed(uint16_t event, uint16_t after, uint16_t before)
{
	return (uint16_t)(after - event - 1) < (uint16_t)(after - before);
}

bool virtio_kick(struct virtio *v, unsigned int queue)
{
	struct virtio_rings *q = &v->queue[queue];
	uint16_t before = q->announced, after = q->available->index;
	bool wanted;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->announced = after;
	if (v->features & VIRTIO_EVENT_IDX)
		wanted = passed(q->used->available_event, after, before);
	else
		wanted = !(q->used->flags & NO_NOTIFY);
	if (wanted)
		virtio_set(v, VIRTIO_REG_NOTIFY, queue);
	return wanted;
}

bool virtio_wait(struct virtio *v, unsigned int queue, unsigned int count)
{
	struct virtio_rings *q = &v->queue[queue];
	uint16_t end = (uint16_t)(q->seen + count);

	q->available->used_event = (uint16_t)(end - 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while ((int16_t)(q->used->index - end) < 0) {
		if (virtio_get(v, VIRTIO_REG_STATUS) & VIRTIO_STATUS_NEEDS_RESET)
			return false;
		cpu_wait();
	}
	q->seen = end;
	return true;
}
