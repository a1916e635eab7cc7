/*
 * The requests that gdb_session.c knows, by what they are about. Each function gets what comes behind the request's name, with a
 * NUL behind its `size` bytes (no other is in it, but for X), and returns as gdb_session_answer().
 */
#pragma once

#include <stddef.h>

#include "replay/gdb_session.h"

typedef int gdb_request(struct gdb_session *s, const char *args, size_t size);

/* gdb_request_memory.c: memory, break- and watchpoints */
gdb_request gdb_request_read, gdb_request_write, gdb_request_write_binary, gdb_request_insert, gdb_request_remove;

/* gdb_request_registers.c */
gdb_request gdb_request_all_registers, gdb_request_set_all_registers, gdb_request_register, gdb_request_set_register;

/* Sets rip. Returns 0 or -errno. */
int gdb_request_jump(struct gdb_session *s, uint64_t rip);

/* gdb_request_run.c: how to go on, and threads */
gdb_request gdb_request_continue, gdb_request_continue_signal, gdb_request_step, gdb_request_step_signal;
gdb_request gdb_request_reverse_continue, gdb_request_reverse_step, gdb_request_vcont_query, gdb_request_vcont;
gdb_request gdb_request_detach, gdb_request_kill, gdb_request_vkill, gdb_request_thread;

/* gdb_request_query.c: what gdb wants to know, and `monitor` */
gdb_request gdb_request_why, gdb_request_supported, gdb_request_no_ack, gdb_request_features, gdb_request_monitor;
gdb_request gdb_request_current_thread, gdb_request_first_threads, gdb_request_more_threads, gdb_request_thread_info;
gdb_request gdb_request_attached;

/* Each sends one answer and returns GDB_STANDS. */
int gdb_reply(struct gdb_session *s, const char *text);
int gdb_reply_bytes(struct gdb_session *s, const void *bytes, size_t size); /* at most GDB_PACKET_BINARY_MAX: as hex digits */
int gdb_reply_error(struct gdb_session *s, int err); /* -errno */
int gdb_reply_result(struct gdb_session *s, int err); /* the same, or OK for 0 */
