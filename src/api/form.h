/*
 * form.h
 *	  The one order form for all APIs, read from its JSON.
 *
 * lines:   [{sku | product_id | variation_id, quantity, designs: [{url, placement,
 *          width_inches, height_inches, print_method}]}]
 * ship_to: {name, line1, line2, city, state, postal_code, country, phone, email}
 * options: {bill_to: like ship_to, customer: {name, email, phone}, branding: {asset_id,
 *          print_method, proof_approval_deadline}, shipping_method, currency, po_number,
 *          net_terms, is_gift, is_rush, notes, extra: {…}}
 *
 * Strings are UTF-8, numbers their text; absent fields and JSON nulls are NULL.
 * An unknown field, a wrong type or a field that the API cannot express is an
 * ERROR that names it ("lines[2].designs[0].placement", "options.currency"), so
 * nothing is dropped silently.
 */
#ifndef CS_API_FORM_H
#define CS_API_FORM_H

#include "postgres.h"

#include "src/api/api.h"
#include "src/api/finding.h"

typedef struct CsDesign
{
	const char *url;
	const char *placement;
	const char *width_inches;	/* number */
	const char *height_inches;	/* number */
	const char *print_method;
} CsDesign;

typedef struct CsLine
{
	const char *sku;
	const char *product_id;
	const char *variation_id;
	const char *quantity;		/* number, integral */
	int			ndesigns;
	CsDesign   *designs;
} CsLine;

typedef struct CsAddress
{
	const char *name;
	const char *line1;
	const char *line2;
	const char *city;
	const char *state;
	const char *postal_code;
	const char *country;		/* ISO 3166-1 alpha-2 */
	const char *phone;
	const char *email;
} CsAddress;

typedef struct CsCustomer
{
	const char *name;
	const char *email;
	const char *phone;
} CsCustomer;

typedef struct CsBranding
{
	const char *asset_id;
	const char *print_method;
	const char *proof_approval_deadline;	/* ISO 8601 with offset */
} CsBranding;

typedef struct CsForm
{
	const char *external_id;
	int			nlines;
	CsLine	   *lines;
	CsAddress  *ship_to;		/* or NULL */
	CsAddress  *bill_to;		/* or NULL */
	CsCustomer *customer;		/* or NULL */
	CsBranding *branding;		/* or NULL */
	const char *shipping_method;
	const char *currency;
	const char *po_number;
	const char *net_terms;
	const char *is_gift;		/* "true", "false" or NULL */
	const char *is_rush;
	const char *notes;
	const CsJson *extra;		/* object merged verbatim into the body, or NULL */
} CsForm;

/* What the form is for: the two may differ in their fields. */
typedef enum CsFormPurpose
{
	CS_FORM_ORDER,
	CS_FORM_QUOTE				/* no external id; designs need no url */
} CsFormPurpose;

/*
 * Reads the form and checks it against what 'api' can express and the rules
 * that need no catalogue (required fields, lengths, quantities, counts).
 * 'lines', 'ship_to' and 'options' are jsonb Datums, or 0 for NULL; the
 * external id is in the server's encoding.  Throws 22023 with a violation in
 * each line of DETAIL, and 0A000 for a quote where there are none.  Everything
 * in 'cxt'.
 */
extern CsForm *cs_form_read(MemoryContext cxt, const CsApi *api, CsFormPurpose purpose,
							const char *external_id, Datum lines, Datum ship_to,
							Datum options);

/*
 * The same, but what is wrong is added to 'findings' and not thrown: what was
 * read of a form with errors is fit for further checks and for nothing else.
 */
extern CsForm *cs_form_check(MemoryContext cxt, const CsApi *api, CsFormPurpose purpose,
							 const char *external_id, Datum lines, Datum ship_to, Datum options,
							 CsFindings *findings);

/* Throws what cs_form_read throws of the findings. */
extern void cs_form_throw(const CsApi *api, CsFormPurpose purpose, const CsFindings *findings);

/* Designs alone, for adding to a placed order: jsonb array → ndesigns, designs; throws 22023. */
extern CsDesign *cs_form_read_designs(MemoryContext cxt, Datum designs, int *ndesigns);

/* The body that places the order: UTF-8, exact, 'extra' merged.  palloc'd. */
extern char *cs_form_order_body(const CsApi *api, const CsForm *form, size_t *length);

/* The body that asks for a quote; only if the API has quotes. */
extern char *cs_form_quote_body(const CsApi *api, const CsForm *form, size_t *length);

#endif							/* CS_API_FORM_H */
