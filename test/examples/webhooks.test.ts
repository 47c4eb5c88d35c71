import { assert, describe, it } from "@effect/vitest"
import { example, run, start, temporaryFolder, until } from "./process.ts"

const script = example("webhooks")
const node = process.execPath

/** `{ flaky: { attempts: 13, got: [1, 2, 4, 5, 6], lost: [3] }, … }` from the table at the end. */
const table = (stdout: string): Record<string, { attempts: number; got: Array<number>; lost: Array<number> }> => {
  const numbers = (text: string) => (text.match(/\d+/g) ?? []).map(Number)
  const [head, ...rows] = stdout.slice(stdout.indexOf("receiver ")).trimEnd().split("\n")
  const [got, lost] = [head!.indexOf("got"), head!.indexOf("not delivered")]
  return Object.fromEntries(rows.map((row) => {
    const [receiver, attempts] = row.split(/\s+/)
    return [receiver!, {
      attempts: Number(attempts),
      got: numbers(row.slice(got, lost)),
      lost: numbers(row.slice(lost))
    }]
  }))
}

/** Ends the example with a signal once the first event is delivered. */
const stopEarly = async (signal: NodeJS.Signals, seed: number) => {
  using folder = temporaryFolder()
  const args = [script, "--events", "1000", "--seed", String(seed)]
  const { child, ended, output } = start(node, args, folder.path)
  await until(() => output.stdout.includes("delivered"))
  child.kill(signal)
  return await ended
}

describe("webhooks", { timeout: 120_000 }, () => {
  it("retries what may pass and nothing else, and keeps the order of each receiver", async () => {
    using folder = temporaryFolder()
    const { exit, stderr, stdout } = await run(node, [script], folder.path)
    assert.deepStrictEqual([exit, stderr], [0, ""])
    assert.match(stdout, /^[\n\x20-\x7e…]+$/)
    assert.match(stdout, / ms {2}hanging 6 +attempt 1: no answer, again in \d+ ms\n/)
    assert.match(stdout, / ms {2}resetting 3 +attempt 3: connection lost, again in \d+ ms\n/)
    assert.match(stdout, / ms {2}flaky 3 +attempt 4: answered 503, given up\n/)
    assert.deepStrictEqual(table(stdout), {
      steady: { attempts: 6, got: [1, 2, 3, 4, 5, 6], lost: [] },
      flaky: { attempts: 13, got: [1, 2, 4, 5, 6], lost: [3] },
      hanging: { attempts: 7, got: [1, 2, 3, 4, 5, 6], lost: [] },
      resetting: { attempts: 10, got: [1, 2, 3, 4, 5, 6], lost: [] },
      gone: { attempts: 6, got: [], lost: [1, 2, 3, 4, 5, 6] }
    })
  })

  it("goes on when nobody reads what it says", async () => {
    using folder = temporaryFolder()
    const { child, ended } = start(node, [script, "--events", "2"], folder.path)
    child.stdout.destroy()
    assert.deepStrictEqual(await ended, { exit: 0, stdout: "", stderr: "" })
  })

  it("delivers after a signal what was accepted, and tells what the grace period was too short for", async () => {
    const [calm, unlucky] = await Promise.all([stopEarly("SIGINT", 1), stopEarly("SIGTERM", 247)])
    for (const { stdout } of [calm, unlucky]) {
      assert.match(stdout, /\nStopped by a signal\. Draining …\n/)
      for (const { got } of Object.values(table(stdout))) {
        assert.isBelow(got.length, 1000)
        assert.deepStrictEqual(got, got.toSorted((a, b) => a - b))
      }
    }
    assert.strictEqual(calm.exit, 0)
    assert.notMatch(calm.stdout, /not delivered: shutdown/)
    // With this seed the first event hangs for two seconds, and so does the second one.
    assert.strictEqual(unlucky.exit, 1)
    assert.match(unlucky.stdout, / ms {2}hanging 3 +not delivered: shutdown\n/)
    assert.include(table(unlucky.stdout)["hanging"]!.lost, 3)
  })
})
