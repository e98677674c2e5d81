/** Counts the connections of this process, in all and per server, against fixed bounds. */
export interface Budget {
  /** Takes one connection's place, if there is one. */
  reserve(serverId: string, serverLimit: number): boolean;
  free(serverId: string): void;
  /** Whether it is the server's bound that is reached, and not only the process's. */
  serverIsFull(serverId: string, serverLimit: number): boolean;
  used(): number;
}

export function createBudget(limit: number): Budget {
  let all = 0;
  const perServer = new Map<string, number>();
  const usedOf = (serverId: string): number => perServer.get(serverId) ?? 0;
  return {
    reserve: (serverId, serverLimit) => {
      const used = usedOf(serverId);
      if (all >= limit || used >= serverLimit) return false;
      all += 1;
      perServer.set(serverId, used + 1);
      return true;
    },
    free: (serverId) => {
      all -= 1;
      const left = usedOf(serverId) - 1;
      if (left > 0) perServer.set(serverId, left);
      else perServer.delete(serverId);
    },
    serverIsFull: (serverId, serverLimit) => usedOf(serverId) >= serverLimit,
    used: () => all,
  };
}
