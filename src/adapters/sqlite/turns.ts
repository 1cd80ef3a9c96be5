/**
 * Turns between callers. Each waiting job has a turn: where the work of its caller's earlier jobs ends or, if that is
 * over, where the class is now. Taking the lowest turn first, callers with waiting jobs get equal shares of the
 * work, whatever they submitted first, and the jobs of one caller stay in order (start-time fair queueing: Goyal, Vin
 * and Cheng, SIGCOMM 1996).
 */

/**
 * An SQL expression for the turn of a new row.
 * @param table with the columns account, priority, units and turn
 * @param waits a condition on its rows @param account, priority: parameters of the statement
 */
export function turnOf(table: string, waits: string, account: string, priority: string): string {
  return `max(
    (SELECT coalesce(max(turn + units), 0) FROM ${table} WHERE ${waits} AND account = ${account} AND priority = ${priority}),
    (SELECT coalesce(min(turn), 0) FROM ${table} WHERE ${waits} AND priority = ${priority}))`
}
