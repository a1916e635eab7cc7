/*
 * The other end of gdb's remote protocol, written from the manual alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct gdb_client {
	int fd;
	bool acks; /* acknowledges, and wants to be */
	size_t size; /* of the last packet's data */
	char data[40000]; /* that, without escapes, NUL-terminated */
};

/* `address` as of gdb_server_address(). */
void client_open(struct gdb_client *c, const char *address);
void client_close(struct gdb_client *c);

/* Any bytes. */
void client_send_raw(struct gdb_client *c, const void *bytes, size_t size);

/* A packet; data is sent as it is. client_make() only makes its bytes: returns how many. */
size_t client_make(char *to, const void *data, size_t size);
void client_send(struct gdb_client *c, const void *data, size_t size);

/* The next packet, with its checksum checked. Acks, where they are due, have to be there. */
const char *client_receive(struct gdb_client *c);

/* One byte, -1: the server hung up. */
int client_receive_byte(struct gdb_client *c);

/* Sends text as a packet and returns the answer. */
const char *client_ask(struct gdb_client *c, const char *text);

#define expect_answer(c, question, answer) ck_assert_str_eq(client_ask(c, question), answer)

/* QStartNoAckMode, as gdb does it. */
void client_stop_acks(struct gdb_client *c);
