/*
 * Which pages the guest uses: tables_accessed() of tables.h. While somebody wants to know, leaf sptes are made without A, and
 * whoever walks the shadow tables for the guest, the CPU or its host's KVM, sets it when the guest goes through the
 * entry. An A that is cleared while a translation is cached would not come back, so A is never cleared where the entry
 * stays: it is noted before the entry changes or goes, and all is dropped after it has been asked for. So an A that is
 * found in memory, wherever, was set since the last time. Internal to the tables.
 */
#pragma once

#include "shadow/shadow_page.h"

/* Notes the page that a leaf entry maps, if the entry, as it is in memory, says that it was used. */
void accessed_note(struct tables *t, uint32_t page, unsigned int index);

/* The same for all entries of all pages in use: what they say is about to be lost. */
void accessed_note_all(struct tables *t);

/* What a leaf entry that is to say `spte` is written as: A is for others to set. */
uint64_t accessed_fresh(const struct tables *t, uint32_t page, uint64_t spte);
