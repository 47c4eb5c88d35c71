import type { Reporter, SerializedError, TestModule } from "vitest/node"

/** Ends the run with the plain line `N passed, N failed, N skipped`; a file that cannot be loaded counts as failed. */
export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<SerializedError>): void {
    const count = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      const failedBefore = count.failed
      for (const test of module.children.allTests()) count[test.result().state]++
      if (module.errors().length > 0 && count.failed === failedBefore) count.failed++
    }
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`)
  }
}
