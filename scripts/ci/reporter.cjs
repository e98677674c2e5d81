// Mocha's readable `spec` output, and beside it the counts as JSON in the file that FLEET_TEST_REPORT names:
// mocha takes one reporter only. CommonJS, as mocha loads reporters by `require`.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

class SpecWithReport extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const file = process.env.FLEET_TEST_REPORT;
    if (file === undefined) return;
    const failed = [];
    runner.on('fail', (test, error) => failed.push({ title: test.fullTitle(), message: error.message }));
    runner.once('end', () => {
      const { passes, failures, pending, duration } = this.stats;
      const report = {
        passed: passes,
        failed: failures,
        skipped: pending,
        durationMs: duration,
        failures: failed,
      };
      writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
    });
  }
}

module.exports = SpecWithReport;
