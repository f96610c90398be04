/*
 * signature.c
 *	  Signatures as partners may write them, and what only looks like one.
 *
 * Each text is looked at in a block of exactly its length, so that a check of
 * the memory sees who reads beyond.  The vector is that of RFC 4231, test case
 * 2 (HMAC-SHA-256), its base64 made with the openssl command.
 */
#include "src/wire/signature.c"

#define HEX "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
#define BASE64 "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM"

static const uint8 expected[CS_SHA256_LENGTH] = {
	0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
	0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43
};

static int	tests = 0;
static int	failed = 0;

static void
looks(bool good, const char *text)
{
	size_t		length = strlen(text);
	char	   *block = malloc(length + (length == 0));
	uint8		mac[CS_SHA256_LENGTH] = {0};
	bool		got;

	memcpy(block, text, length);
	got = cs_signature_read(block, length, mac);
	if (good)
		got = got && memcmp(mac, expected, sizeof(mac)) == 0;
	printf("%sok %d - %s \"%s\"\n", got == good ? "" : "not ", ++tests, good ? "read:" : "refused:",
		   strpbrk(text, "\r\n") ? "(with a line's end)" : text);
	failed += got != good;
	free(block);
}

int
main(void)
{
	looks(true, HEX);
	looks(true, "sha256=" HEX);
	looks(true, "SHA256=" HEX);
	looks(true, "5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843");
	looks(true, " \t" HEX "\r\n");
	looks(true, BASE64 "=");
	looks(true, BASE64);
	looks(true, "sha256=" BASE64 "=");
	looks(true, "  sha256=" BASE64 "  ");

	looks(false, "");
	looks(false, " ");
	looks(false, "sha256=");
	looks(false, "sha512=" HEX);
	looks(false, "sha256=sha256=" HEX);
	looks(false, "sha256= " HEX);
	looks(false, HEX "0");
	looks(false, "0x" HEX);
	looks(false, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec384");
	looks(false, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec384g");
	looks(false, "5bdcc146bf60754e6a042426089575c7:a003f089d2739839dec58b964ec38430");
	looks(false, BASE64 "==");
	looks(false, BASE64 "A");
	looks(false, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOE=");
	looks(false, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEN");
	looks(false, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTs*EM");
	looks(false, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTs OEM");
	printf("1..%d\n", tests);
	return failed > 0;
}
