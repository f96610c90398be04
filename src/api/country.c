/*
 * country.c
 *	  The countries of ISO 3166-1.
 */
#include "postgres.h"

#include "src/api/country.h"

/* The second letters behind each first one; 249 codes. */
static const char *const second_letters[26] =
{
	"DEFGILMOQRSTUWXZ",			/* A */
	"ABDEFGHIJLMNOQRSTVWYZ",	/* B */
	"ACDFGHIKLMNORUVWXYZ",		/* C */
	"EJKMOZ",					/* D */
	"CEGHRST",					/* E */
	"IJKMOR",					/* F */
	"ABDEFGHILMNPQRSTUWY",		/* G */
	"KMNRTU",					/* H */
	"DELMNOQRST",				/* I */
	"EMOP",						/* J */
	"EGHIMNPRWYZ",				/* K */
	"ABCIKRSTUVY",				/* L */
	"ACDEFGHKLMNOPQRSTUVWXYZ",	/* M */
	"ACEFGILOPRUZ",				/* N */
	"M",						/* O */
	"AEFGHKLMNRSTWY",			/* P */
	"A",						/* Q */
	"EOSUW",					/* R */
	"ABCDEGHIJKLMNORSTVXYZ",	/* S */
	"CDFGHJKLMNORTVWZ",			/* T */
	"AGMSYZ",					/* U */
	"ACEGINU",					/* V */
	"FS",						/* W */
	"",							/* X */
	"ET",						/* Y */
	"AMW",						/* Z */
};

bool
cs_is_country(const char *code)
{
	return code[0] >= 'A' && code[0] <= 'Z' && code[1] != '\0' && code[2] == '\0' &&
		strchr(second_letters[code[0] - 'A'], code[1]) != NULL;
}
