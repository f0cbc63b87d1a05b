// Checks of what Declaw's SDK for Node sends more than once, with a server that knows these texts.
import { Sandbox, SandboxError } from '@declaw/sdk'
import assert from 'node:assert'

const sandbox = await Sandbox.create()
const { commands } = sandbox
const failed = (status: number) => (error: Error) => error.constructor === SandboxError && error.message.includes(`HTTP ${status}`)

const checks: Record<string, () => Promise<void>> = {
  async node_what_cannot_be_started_is_asked_for_three_times() {
    await assert.rejects(commands.run('broken node'), failed(502))
    await assert.rejects(commands.runStream('broken stream node'), failed(502))
  },
  async node_what_can_be_started_at_last_runs_once() {
    assert.equal((await commands.run('echo x >>ran; wc -l <ran # late node')).stdout, '1\n')
    assert.equal((await commands.runStream('rm ran; echo x >>ran; wc -l <ran # late stream node')).stdout, '1\n')
  },
  async node_stopped_sandbox_is_asked_three_times() {
    const made = await Sandbox.create()
    await assert.rejects(made.commands.run('stop node'), failed(503))
    await assert.rejects(made.commands.runStream('true'), failed(503))
    await made.resume()
    assert.equal((await made.commands.run('echo on')).stdout, 'on\n')
    await made.kill()
  },
  async node_impatient_client_runs_nothing_twice() {
    await commands.run('echo x >>runs; sleep 4.5', { requestTimeout: 3000 }).catch(() => 'it may give up, or not')
    assert.equal((await commands.run('sleep 1.5; wc -l <runs')).stdout, '1\n')
  },
}

// They wait most of the time.
await Promise.all(Object.entries(checks).map(async ([name, check]) => {
  let told = 'ok'
  try {
    await check()
  } catch (error) {
    told = error instanceof Error ? error.stack ?? error.message : String(error)
  }
  console.log(name, JSON.stringify(told))
}))
await sandbox.kill()
process.exit(0)
