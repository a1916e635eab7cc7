#include "replay/show_event.h"

#include <inttypes.h>
#include <stdio.h>

#include "vmm/printable.h"
#include "vmm/vm.h"

#define BYTES_SHOWN 32u

const char *const event_kind_names[EVENT_KINDS] = {
	[EVENT_EXTERNAL] = "external", [EVENT_CLOCK] = "clock", [EVENT_INTERRUPT] = "interrupt", [EVENT_CHECKS] = "checks",
	[EVENT_PAGE] = "page",	       [EVENT_STATE] = "state", [EVENT_END] = "end",
	[EVENT_DIGEST] = "digest",
	[EVENT_MARK] = "mark",
};

static const char *source_name(enum access_source source)
{
	static const char *const names[ACCESS_SOURCES] = {
		[ACCESS_CONSOLE] = "console", [ACCESS_ENTROPY] = "entropy", [ACCESS_SOLO5] = "solo5", [ACCESS_DISK] = "disk"};

	return names[source];
}

/* The first of them in hexadecimal. */
static const char *hex(char text[2 * BYTES_SHOWN + 1], const uint8_t *bytes, uint32_t size)
{
	text[0] = '\0';
	for (uint32_t i = 0; i < size && i < BYTES_SHOWN; i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", bytes[i]);
	return text;
}

static const char *const mark_names[EVENT_MARKS] = {[MARK_BEGUN] = "begun", [MARK_SAVED] = "saved", [MARK_COPIED] = "copied"};

static const char *hex_id(char text[2 * BYTES_SHOWN + 1], const struct event *e)
{
	return e->mark.what == MARK_BEGUN ? "" : hex(text, e->mark.id, EVENT_ID_BYTES);
}

static void show_details(const struct event *e)
{
	char text[2 * BYTES_SHOWN + 1];

	switch (e->kind) {
	case EVENT_EXTERNAL:
		printf("%u bytes of %s: %s%s", e->external.size, source_name(e->external.source),
		       hex(text, e->external.bytes, e->external.size), e->external.size > BYTES_SHOWN ? "..." : "");
		break;
	case EVENT_CLOCK: printf("%" PRIu64 " ns later", e->ns); break;
	case EVENT_INTERRUPT: printf("vector 0x%02x, registers %08x", e->interrupt.vector, e->interrupt.registers); break;
	case EVENT_CHECKS: printf("of %u accesses", e->checks.count); break;
	case EVENT_PAGE: printf("0x%" PRIx64 " in %u bytes", e->packed.page << PAGE_SHIFT, e->packed.size); break;
	case EVENT_STATE: printf("in %u bytes", e->packed.size); break;
	case EVENT_DIGEST:
		printable(text, sizeof(text), e->digest.size ? e->digest.paging : "", e->digest.size);
		printf("of %u registers", e->digest.registers);
		if (e->digest.size)
			printf(", RAM %016" PRIx64 " where paging is %s, and %u parts of it", e->digest.ram, text, e->digest.rows);
		break;
	case EVENT_MARK: printf("%s %s", mark_names[e->mark.what], hex_id(text, e)); break;
	default:
		printable(text, sizeof(text), e->end.paging, e->end.size);
		printf("%s, code %u, RAM %016" PRIx64 " where paging is %s", vm_end_name(e->end.how), e->end.code, e->end.ram, *text ? text : "unknown");
	}
}

void show_event(const struct event *e)
{
	printf("%12" PRIu64 "  %-9s  ", e->position, event_kind_names[e->kind]);
	show_details(e);
	putchar('\n');
}

static json_t *details(const struct event *e)
{
	char text[2 * BYTES_SHOWN + 1];

	switch (e->kind) {
	case EVENT_EXTERNAL:
		return json_pack("{s:s, s:I, s:s}", "source", source_name(e->external.source), "bytes", (json_int_t)e->external.size, "first",
				 hex(text, e->external.bytes, e->external.size));
	case EVENT_CLOCK: return json_pack("{s:I}", "ns", (json_int_t)e->ns);
	case EVENT_INTERRUPT:
		return json_pack("{s:i, s:I}", "vector", e->interrupt.vector, "registers", (json_int_t)e->interrupt.registers);
	case EVENT_CHECKS: return json_pack("{s:i}", "accesses", e->checks.count);
	case EVENT_PAGE:
		return json_pack("{s:I, s:I}", "gpa", (json_int_t)(e->packed.page << PAGE_SHIFT), "bytes", (json_int_t)e->packed.size);
	case EVENT_STATE: return json_pack("{s:I}", "bytes", (json_int_t)e->packed.size);
	case EVENT_DIGEST:
		printable(text, sizeof(text), e->digest.size ? e->digest.paging : "", e->digest.size);
		return json_pack("{s:i, s:I, s:i, s:s}", "registers", e->digest.registers, "ram", (json_int_t)e->digest.ram, "parts",
				 e->digest.rows, "paging", text);
	case EVENT_MARK: return json_pack("{s:s, s:s}", "mark", mark_names[e->mark.what], "snapshot", hex_id(text, e));
	default:
		printable(text, sizeof(text), e->end.paging, e->end.size);
		return json_pack("{s:s, s:i, s:s}", "how", vm_end_name(e->end.how), "code", e->end.code, "paging", text);
	}
}

json_t *show_event_json(const struct event *e)
{
	json_t *o = json_pack("{s:I, s:s}", "position", (json_int_t)e->position, "kind", event_kind_names[e->kind]), *more = details(e);

	if (o && more)
		json_object_update(o, more);
	json_decref(more);
	return o;
}
