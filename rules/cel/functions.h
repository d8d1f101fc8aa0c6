/* functions.h - the standard functions: one table a file, one row an overload.
 *
 * A row of an operator has no fn: the machine does it, the row only says which
 * types fit. */
#ifndef DGF_CEL_FUNCTIONS_H
#define DGF_CEL_FUNCTIONS_H

#include "cel/cel.h"

/* Tables end with name NULL, the list with NULL. */
extern const struct dgf_cel_function *const dgf_cel_std_tables[];
extern const struct dgf_cel_function dgf_cel_policy_table[]; /* decimals */

extern const struct dgf_cel_function dgf_cel_operators[], dgf_cel_fn_convert[],
    dgf_cel_fn_core[], dgf_cel_fn_time[], dgf_cel_fn_optional[], dgf_cel_fn_strings[],
    dgf_cel_fn_format[], dgf_cel_fn_math[], dgf_cel_fn_lists[], dgf_cel_fn_encode[],
    dgf_cel_fn_net[];

extern const struct dgf_cel_type dgf_cel_t_net_ip, dgf_cel_t_net_cidr;

#endif
