/* Solo5's options on a command line: which words become them, and which stay as they are. */
#include "vmm/solo5_options.h"

#include <errno.h>
#include <stdio.h>

#include "tests/unit/board.h"
#include "vmm/log.h"
#include "vmm/solo5_block.h"
#include "vmm/solo5_net.h"

#define MAX_WORDS 8

static const struct argp_option known[] = {
	{"append", 1, "STR", 0, NULL, 0}, {"json", 2, NULL, 0, NULL, 0}, {"block", 3, "NAME=FILE", 0, NULL, 0}, {0},
};

/* Two lines of words, before and after. */
static const struct {
	const char *before[MAX_WORDS], *after[MAX_WORDS];
} lines[] = {
	{{"run", "--block:a=b"}, {"run", "--block=a=b"}},
	{{"run", "--net:a=b:c"}, {"run", "--net=a=b:c"}},
	{{"run", "--net-mac:a=02:00:00:00:00:00"}, {"run", "--net-mac=a=02:00:00:00:00:00"}},
	{{"run", "--block-sector-size:a=4096"}, {"run", "--block-sector-size=a=4096"}},
	{{"run", "--block=a:b=c"}, {"run", "--block=a:b=c"}},
	{{"run", "--block:"}, {"run", "--block="}},
	{{"run", "--bloc:a=b"}, {"run", "--bloc:a=b"}},
	{{"run", "--blocks:a=b"}, {"run", "--blocks:a=b"}},
	{{"run", "-block:a=b"}, {"run", "-block:a=b"}},
	{{"run", "block:a=b"}, {"run", "block:a=b"}},
	{{"--block:a=b"}, {"--block:a=b"}},
	{{"run", "--", "--block:a=b"}, {"run", "--", "--block:a=b"}},
	{{"run", "--append", "--block:a=b"}, {"run", "--append", "--block:a=b"}},
	{{"run", "--append=x", "--block:a=b"}, {"run", "--append=x", "--block=a=b"}},
	{{"run", "--json", "--block:a=b"}, {"run", "--json", "--block=a=b"}},
	{{"run", "--block", "--net:a=b", "--net:a=b"}, {"run", "--block", "--net:a=b", "--net=a=b"}},
	{{"run", "--append"}, {"run", "--append"}},
	{{"run", "image", "--net:a=b"}, {"run", "image", "--net=a=b"}},
	{{"run", "--"}, {"run", "--"}},
	{{"run", "", "--block:a=b"}, {"run", "", "--block=a=b"}},
};

START_TEST(test_words)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		char *argv[MAX_WORDS + 1] = {NULL};
		int argc = 0;

		while (argc < MAX_WORDS && lines[i].before[argc]) {
			argv[argc] = strdup(lines[i].before[argc]);
			argc++;
		}
		solo5_options_open_names(argc, argv, known);
		for (int n = 0; n < argc; n++) {
			ck_assert_msg(!strcmp(argv[n], lines[i].after[n]), "line %zu: word %d is %s", i, n, argv[n]);
			free(argv[n]);
		}
	}
}
END_TEST

START_TEST(test_add)
{
	static const char *const good[] = {"a=b", "A9=/x=y", "storage=a b"};
	static const char *const bad[] = {"", "=", "a", "a=", "=b", "a b=c", "a:b=c", "a-b=c", "\xc3\xa4=c"};
	struct solo5_options o = {.count = 0};
	char name[80];

	log_set_level(LOG_ERROR);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ck_assert_int_eq(solo5_options_add(&o, SOLO5_GIVE_NET, good[i]), 0);
		ck_assert_uint_eq(o.count, i + 1);
		ck_assert_ptr_eq(o.option[i].name, good[i]);
		ck_assert_int_eq(o.option[i].name[o.option[i].name_length], '=');
		ck_assert_ptr_eq(o.option[i].value, good[i] + o.option[i].name_length + 1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_int_eq(solo5_options_add(&o, SOLO5_GIVE_BLOCK, bad[i]), -EINVAL);
	memset(name, 'n', sizeof(name));
	strcpy(name + 67, "=x");
	ck_assert_int_eq(solo5_options_add(&o, SOLO5_GIVE_BLOCK, name), 0);
	strcpy(name + 67, "n=x");
	ck_assert_int_eq(solo5_options_add(&o, SOLO5_GIVE_BLOCK, name), -EINVAL);
	while (o.count < SOLO5_MAX_OPTIONS)
		ck_assert_int_eq(solo5_options_add(&o, SOLO5_GIVE_BLOCK, "a=b"), 0);
	ck_assert_int_eq(solo5_options_add(&o, SOLO5_GIVE_BLOCK, "a=b"), -EINVAL);
	ck_assert_uint_eq(o.count, SOLO5_MAX_OPTIONS);
}
END_TEST

START_TEST(test_sectors)
{
	uint16_t sector;

	for (unsigned int n = 0; n <= 70000; n++) {
		bool good = n >= 512 && n <= 32768 && __builtin_popcount(n) == 1;
		char text[20];

		snprintf(text, sizeof(text), "%u", n);
		expect_eq(solo5_block_parse_sector(text, &sector), good ? 0 : -EINVAL);
		expect(!good || sector == n);
	}
	ck_assert_int_eq(solo5_block_parse_sector("", &sector), -EINVAL);
	ck_assert_int_eq(solo5_block_parse_sector("-512", &sector), -EINVAL);
	ck_assert_int_eq(solo5_block_parse_sector(" 512", &sector), -EINVAL);
	ck_assert_int_eq(solo5_block_parse_sector("512x", &sector), -EINVAL);
	ck_assert_int_eq(solo5_block_parse_sector("18446744073709552128", &sector), -EINVAL);
}
END_TEST

START_TEST(test_macs)
{
	static const char *const bad[] = {"", "0", "02:00:00:00:00", "02:00:00:00:00:", "02:00:00:00:00:0", "02:00:00:00:00:00:",
					  "02:00:00:00:00:0g", "2:00:00:00:00:00", "01:00:00:00:00:00", "+2:00:00:00:00:00",
					  "0x:00:00:00:00:00", " 2:00:00:00:00:00", "02:00:00:00:00:000", "ff:ff:ff:ff:ff:ff"};
	static const uint8_t expected[] = {0xaA, 0xbB, 0xc0, 0x01, 0x23, 0xef};
	uint8_t mac[6];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(solo5_net_parse_mac(bad[i], mac) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(solo5_net_parse_mac("aA:Bb:c0:01:23:EF", mac), 0);
	ck_assert_mem_eq(mac, expected, 6);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("options");

	tcase_add_test(tcase, test_words);
	tcase_add_test(tcase, test_add);
	tcase_add_test(tcase, test_sectors);
	tcase_add_test(tcase, test_macs);
	return run_case("solo5_options", tcase);
}
