#include "vmm/i8042.h"

#include <stddef.h>

#include "vmm/state.h"

enum { RANGE_DATA, RANGE_COMMAND };

#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_TESTED 0x04u
#define STATUS_COMMAND 0x08u
#define STATUS_UNLOCKED 0x10u

#define BYTE_INTERRUPT 0x01u
#define BYTE_TESTED 0x04u
#define BYTE_KEYBOARD_OFF 0x10u
#define BYTE_MOUSE_OFF 0x20u
#define BYTE_RESET (BYTE_KEYBOARD_OFF | BYTE_MOUSE_OFF)

#define LINE_RESET 0x01u /* of the output port: low resets the machine */
#define LINE_A20 0x02u

#define COMMAND_WRITE_BYTE 0x60u
#define COMMAND_WRITE_LINES 0xd1u
#define COMMAND_WRITE_OUTPUT 0xd2u
#define COMMAND_WRITE_MOUSE_OUTPUT 0xd3u
#define COMMAND_WRITE_MOUSE 0xd4u
#define COMMAND_PULSE 0xf0u

static void update_irq(struct i8042 *k)
{
	irq_set(&k->irq, k->output_full && (k->command_byte & BYTE_INTERRUPT));
}

static void answer(struct i8042 *k, uint8_t byte)
{
	k->output = byte;
	k->output_full = true;
}

static void set_lines(struct i8042 *k, uint8_t lines)
{
	if (!(lines & LINE_RESET))
		k->reset(k->reset_arg, "the keyboard controller");
}

static void read_byte(struct i8042 *k)
{
	answer(k, k->command_byte);
}

static void mouse_test(struct i8042 *k)
{
	answer(k, 0x01); /* its clock line is stuck */
}

static void self_test(struct i8042 *k)
{
	k->tested = true;
	k->command_byte |= BYTE_TESTED;
	answer(k, 0x55);
}

static void keyboard_test(struct i8042 *k)
{
	answer(k, 0x00);
}

static void keyboard_off(struct i8042 *k)
{
	k->command_byte |= BYTE_KEYBOARD_OFF;
}

static void keyboard_on(struct i8042 *k)
{
	k->command_byte &= (uint8_t)~BYTE_KEYBOARD_OFF;
}

static void read_input_port(struct i8042 *k)
{
	answer(k, 0x80); /* the keyboard is not locked */
}

static void read_lines(struct i8042 *k)
{
	answer(k, LINE_RESET | LINE_A20);
}

/* What is done at once; all other commands but those below do nothing. */
static const struct {
	uint8_t command;
	void (*run)(struct i8042 *k);
} commands[] = {
	{0x20, read_byte},    {0xa9, mouse_test},  {0xaa, self_test},	     {0xab, keyboard_test},
	{0xad, keyboard_off}, {0xae, keyboard_on}, {0xc0, read_input_port}, {0xd0, read_lines},
};

/* Commands that the next byte at the data port belongs to. */
static bool wants_byte(uint8_t command)
{
	return command == COMMAND_WRITE_BYTE ||
	       (command >= COMMAND_WRITE_LINES && command <= COMMAND_WRITE_MOUSE);
}

static void write_command(struct i8042 *k, uint8_t command)
{
	k->last_was_command = true;
	k->command = wants_byte(command) ? command : 0;
	if (command >= COMMAND_PULSE)
		set_lines(k, command); /* the lines whose bits are 0 go low for a moment */
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].command == command)
			commands[i].run(k);
	update_irq(k);
}

static void write_data(struct i8042 *k, uint8_t byte)
{
	uint8_t command = k->command;

	k->last_was_command = false;
	k->command = 0;
	if (command == COMMAND_WRITE_BYTE)
		k->command_byte = byte | BYTE_MOUSE_OFF;
	else if (command == COMMAND_WRITE_LINES)
		set_lines(k, byte);
	else if (command == COMMAND_WRITE_OUTPUT || command == COMMAND_WRITE_MOUSE_OUTPUT)
		answer(k, byte);
	update_irq(k);
}

static uint8_t read_data(struct i8042 *k)
{
	k->output_full = false;
	update_irq(k);
	return k->output;
}

static uint8_t status(const struct i8042 *k)
{
	unsigned int s = STATUS_UNLOCKED;

	s |= k->output_full ? STATUS_OUTPUT_FULL : 0;
	s |= k->tested ? STATUS_TESTED : 0;
	s |= k->last_was_command ? STATUS_COMMAND : 0;
	return (uint8_t)s;
}

static void i8042_access(struct device *device, unsigned int range, struct access *a)
{
	struct i8042 *k = (struct i8042 *)device;

	if (a->kind == ACCESS_PORT_READ)
		a->value = range == RANGE_COMMAND ? status(k) : read_data(k);
	else if (range == RANGE_COMMAND)
		write_command(k, (uint8_t)a->value);
	else
		write_data(k, (uint8_t)a->value);
}

static void i8042_reset(struct device *device)
{
	struct i8042 *k = (struct i8042 *)device;

	k->command_byte = BYTE_RESET;
	k->output = k->command = 0;
	k->output_full = k->tested = k->last_was_command = false;
	update_irq(k);
}

static void i8042_visit(struct device *device, struct state *s)
{
	struct i8042 *k = (struct i8042 *)device;

	state_begin(s, "i8042", 1);
	state_u8(s, &k->command_byte);
	state_u8(s, &k->output);
	state_bool(s, &k->output_full);
	state_bool(s, &k->tested);
	state_bool(s, &k->last_was_command);
	state_u8(s, &k->command);
	state_check(s, k->command_byte & BYTE_MOUSE_OFF, "i8042: a second port");
	state_check(s, !k->command || wants_byte(k->command), "i8042: waits for the byte of no such command");
	state_end(s);
	if (state_loading(s))
		update_irq(k);
}

void i8042_init(struct i8042 *k, struct bus *b, struct irq_line irq, void (*reset)(void *arg, const char *how), void *arg)
{
	*k = (struct i8042){
		.device = {.name = "i8042", .byte_wide = true, .access = i8042_access, .reset = i8042_reset,
			   .visit = i8042_visit},
		.irq = irq,
		.reset = reset,
		.reset_arg = arg,
	};
	i8042_reset(&k->device);
	bus_add(b, &k->device);
	bus_claim(b, &k->device, BUS_PORT, 0x60, 1, RANGE_DATA);
	bus_claim(b, &k->device, BUS_PORT, 0x64, 1, RANGE_COMMAND);
}
