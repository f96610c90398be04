/*
 * signature.c
 *	  HMAC-SHA256 signatures as they stand in a header.
 *
 * Partners write the 32 bytes in hexadecimal or in base64 (RFC 4648, either
 * alphabet, with or without padding), perhaps behind "sha256=".  Only the
 * form is looked at here; which bytes are right is compared elsewhere, in
 * constant time.  A signature that a stranger sends is no secret, so reading it
 * need not be.
 */
#include "postgres.h"

#include "src/wire/sign.h"

#define PREFIX "sha256="

/* 32 bytes as characters. */
#define HEX_LENGTH 64
#define BASE64_LENGTH 43		/* without padding */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

static bool
read_hex(const char *text, uint8 mac[CS_SHA256_LENGTH])
{
	for (int i = 0; i < CS_SHA256_LENGTH; i++)
	{
		int			high = hex_digit(text[i * 2]);
		int			low = hex_digit(text[i * 2 + 1]);

		if (high < 0 || low < 0)
			return false;
		mac[i] = (uint8) (high << 4 | low);
	}
	return true;
}

/* The last of the 43 digits has two bits that belong to no byte: zero. */
static bool
read_base64(const char *text, uint8 mac[CS_SHA256_LENGTH])
{
	uint32		bits = 0;
	int			nbits = 0;
	int			n = 0;

	for (int i = 0; i < BASE64_LENGTH; i++)
	{
		int			digit = base64_digit(text[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32) digit;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			mac[n++] = (uint8) (bits >> nbits);
		}
	}
	return (bits & ((1U << nbits) - 1)) == 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool
cs_signature_read(const char *text, size_t length, uint8 mac[CS_SHA256_LENGTH])
{
	while (length > 0 && is_blank(text[0]))
		text++, length--;
	while (length > 0 && is_blank(text[length - 1]))
		length--;
	if (length > strlen(PREFIX) && pg_strncasecmp(text, PREFIX, strlen(PREFIX)) == 0)
	{
		text += strlen(PREFIX);
		length -= strlen(PREFIX);
	}
	if (length == HEX_LENGTH)
		return read_hex(text, mac);
	if (length == BASE64_LENGTH || (length == BASE64_LENGTH + 1 && text[BASE64_LENGTH] == '='))
		return read_base64(text, mac);
	return false;
}
