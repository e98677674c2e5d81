/**
 * Loaded into each program that the launcher starts (`node --import`): when the launcher is gone, even by
 * kill -9, the channel to it closes and the program stops as on SIGTERM. Nothing is left to hold its port.
 */
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
process.channel?.unref();
