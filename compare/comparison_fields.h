/*
 * The fields of a comparison's parts, as JSON has them in both directions (json_fields.h).
 */
#pragma once

#include "compare/comparison.h"
#include "compare/json_fields.h"

#define JSON_MOST 1e15 /* for numbers that nothing else limits */
#define JSON_MOST_LEVELS 6
#define JSON_MOST_REFERENCES 99

static const struct json_field json_column[] = {
	JSON_TEXT(struct column, name),
	JSON_TEXT(struct column, mmu),
	JSON_TEXT(struct column, host_mmu),
	JSON_TEXT(struct column, host_words),
	JSON_TEXT(struct column, cpu),
	JSON_TEXT(struct column, kernel),
	JSON_TEXT(struct column, clocksource),
	JSON_BOOL(struct column, nested),
	JSON_BOOL(struct column, emulated),
	JSON_BOOL(struct column, ring0_interpreted),
	JSON_UINT64(struct column, host_page, JSON_MOST),
	JSON_UINT64(struct column, tlb_reach, JSON_MOST),
	JSON_NUMBER(struct column, bare_exit_us, JSON_MOST),
	JSON_NUMBER(struct column, bare_loop_ns, JSON_MOST),
};

static const struct json_field json_row[] = {
	JSON_TEXT(struct row, name),
	JSON_TEXT(struct row, group),
	JSON_TEXT(struct row, what),
	JSON_UINT64(struct row, operations, JSON_MOST),
};

static const struct json_field json_walk[] = {
	JSON_UINT(struct walk_length, guest_levels, JSON_MOST_LEVELS),
	JSON_UINT(struct walk_length, host_levels, JSON_MOST_LEVELS),
	JSON_UINT(struct walk_length, references, JSON_MOST_REFERENCES),
};

static const struct json_field json_whole[] = {
	JSON_UINT(struct comparison, rounds, COMPARISON_MAX_SAMPLES),
	JSON_BOOL(struct comparison, partial),
};

#define JSON_FIELDS(table) (table), sizeof(table) / sizeof(*(table))
