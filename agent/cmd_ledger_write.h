/* cmd_ledger_write.h - the actions of `dgf ledger` that write. */
#ifndef DGF_CMD_LEDGER_WRITE_H
#define DGF_CMD_LEDGER_WRITE_H

#include "cmd.h"

/* recover, key, rotate-key?  Then *ret_exit is how it ended. */
bool ledger_write(const struct dgf_args *args, int *ret_exit);

int ledger_recover(const struct dgf_args *args);
int ledger_key(const struct dgf_args *args);
int ledger_rotate_key(const struct dgf_args *args);

#endif
