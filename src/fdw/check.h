/*
 * check.h
 *	  Foreign tables are checked when they are made, not when they are read.
 */
#ifndef CS_FDW_CHECK_H
#define CS_FDW_CHECK_H

extern void cs_fdw_init(void);

#endif							/* CS_FDW_CHECK_H */
