// Checks of the door with Declaw's SDK for Node. Prints a line for each: its name, and ok or what went wrong.
import * as declaw from '@declaw/sdk'
import assert from 'node:assert'

const { AuthenticationError, CommandExitError, ConflictError, InvalidArgumentError, NotFoundError, Sandbox, SandboxError } = declaw
const sandbox = await Sandbox.create()
const { commands } = sandbox

function heard() {
  const found = { out: Buffer.alloc(0), err: Buffer.alloc(0) }
  return {
    found,
    onStdout: (data: Uint8Array) => { found.out = Buffer.concat([found.out, data]) },
    onStderr: (data: Uint8Array) => { found.err = Buffer.concat([found.err, data]) },
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10))
}

const checks: Record<string, () => Promise<void>> = {
  async node_sandbox_lives_and_dies() {
    const made = await Sandbox.create({ template: 'python', metadata: { m: 'node' }, envs: { WHO: 'me' }, timeout: 100 })
    assert.match(made.sandboxId, /^sbx-[0-9a-f]{8}$/)
    const again = await Sandbox.connect(made.sandboxId)
    assert.equal((await again.commands.run('echo $WHO')).stdout, 'me\n')
    const info = await made.getInfo()
    assert.deepEqual([info.sandboxId, info.templateId, info.state, info.metadata], [made.sandboxId, 'python', 'running', { m: 'node' }])
    assert.equal(await made.isRunning(), true)
    await made.setTimeout(1000)
    await made.pause()
    await assert.rejects(made.commands.run('true'), ConflictError)
    await assert.rejects(made.commands.runStream('true'), ConflictError)
    await made.resume()
    const { sandboxes } = await Sandbox.list({ limit: 1000 })
    assert.ok(sandboxes.some((item) => item.sandboxId === made.sandboxId))
    assert.equal(await made.kill(), true)
    assert.equal(await made.isRunning(), false)
    assert.equal(await made.kill({ wait: true }), false)
    await assert.rejects(made.getInfo(), (error: Error) => error.constructor === SandboxError && error.message.includes('410'))
    await assert.rejects(Sandbox.connect('sbx-00000000'), NotFoundError)
  },
  async node_sandboxes_are_killed_by_their_ids() {
    const metadata = { many: 'node' }
    const ids: string[] = []
    for (let number = 0; number < 4; number++) ids.push((await Sandbox.create({ metadata })).sandboxId)
    const query = { metadata: JSON.stringify(metadata), state: 'running' }
    const first = await Sandbox.list({ query, limit: 3 })
    const rest = await Sandbox.list({ query, limit: 3, nextToken: first.nextToken })
    assert.deepEqual([...first.sandboxes, ...rest.sandboxes].map((item) => item.sandboxId), ids)
    assert.equal(rest.nextToken, '')
    assert.equal(await Sandbox.kill(ids[0]), true)
    assert.equal(await Sandbox.kill(ids[0]), false)
    assert.equal(await Sandbox.kill(ids[1], { wait: true }), true)
    assert.equal(await Sandbox.kill(ids[1], { wait: true }), false)
    assert.deepEqual(await Sandbox.killMany(ids.slice(0, 3)), {
      [ids[0]]: { queued: false }, [ids[1]]: { queued: false }, [ids[2]]: { queued: true },
    })
    const results = await Sandbox.killMany([...ids, 'sbx-00000000'], { wait: true })
    assert.deepEqual(ids.map((id) => results[id]), [{ killed: false }, { killed: false }, { killed: false }, { killed: true }])
    assert.match(results['sbx-00000000'].error!, /sbx-00000000/)
    assert.deepEqual((await Sandbox.list({ query })).sandboxes, [])
    await assert.rejects(Sandbox.kill('sbx-00000000'), NotFoundError)
  },
  async node_errors_have_their_types() {
    await assert.rejects(Sandbox.create({ apiKey: 'wrong-key' }), AuthenticationError)
    await assert.rejects(commands.run(''), InvalidArgumentError)
    await assert.rejects(commands.runStream(''), InvalidArgumentError)
    await assert.rejects(commands.connect(1000000).wait(), NotFoundError)
  },
  async node_command_is_run() {
    const lines: string[] = []
    const options = { envs: { A: 'ü\u2028€' }, cwd: '/usr', onStdout: (line: string) => { lines.push(line) } }
    const found = await commands.run("echo $A; pwd; printf 'a\\nb' >&2; exit 3", options)
    assert.deepEqual(found, { stdout: 'ü\u2028€\n/usr\n', stderr: 'a\nb', exitCode: 3 })
    assert.deepEqual(lines, ['ü\u2028€\n', '/usr\n'])
    assert.deepEqual((await commands.run('true', { cwd: '/nowhere' })).exitCode, 127)
    const ended = await commands.run('echo begun; sleep 1000', { timeout: 0.5 })
    assert.deepEqual([ended.stdout, ended.exitCode], ['begun\n', 124])
    for (const result of [await commands.run('sleep 0.3; echo x', { timeout: 0 }), await commands.runStream('sleep 0.3; echo x', { timeout: 0 })]) {
      assert.deepEqual(result, { stdout: 'x\n', stderr: '', exitCode: 0 })
    }
  },
  async node_command_in_background() {
    const handle = await commands.run('sleep 0.3; echo out; exit 5', { background: true })
    assert.ok((await commands.list()).some((item) => item.pid === handle.pid && !item.isPty))
    for (const one of [handle, commands.connect(handle.pid)]) {
      await assert.rejects(one.wait(), (error: InstanceType<typeof CommandExitError>) =>
        error instanceof CommandExitError && error.exitCode === 5 && error.stdout === 'out\n')
    }
    const killed = await commands.run('sleep 1000', { background: true })
    const waiting = assert.rejects(killed.wait(), (error: InstanceType<typeof CommandExitError>) => error.exitCode === 137)
    assert.equal(await commands.kill(killed.pid), true)
    await waiting
    assert.equal(await killed.kill(), false)
    const deaf = await commands.run('sleep 1000', { background: true })
    await assert.rejects(commands.sendStdin(deaf.pid, 'x'), ConflictError)
    assert.equal(await deaf.kill(), true)
  },
  async node_streams_are_exact() {
    const out: string[] = []
    const text = "printf '1\\n2\\n'; printf 'oops\\n' >&2; printf '\\303'; sleep 0.1; printf '\\251\\u2028\\u0085\\nrest'; exit 7"
    const found = await commands.runStream(text, { onStdout: (data: string) => { out.push(data) } })
    assert.deepEqual(found, { stdout: '1\n2\né\u2028\u0085\nrest', stderr: 'oops\n', exitCode: 7 })
    assert.deepEqual(out, ['1\n', '2\n', 'é\u2028\u0085\n', 'rest'])
    const large = await commands.runStream("head -c 1048576 /dev/zero | tr '\\0' x; seq 100000 >&2")
    assert.equal(large.stdout, 'x'.repeat(1048576))
    assert.equal(large.stderr.split('\n').length, 100001)
    const silent = await commands.runStream('echo begun; sleep 1000', { timeout: 1 })
    assert.deepEqual(silent, { stdout: 'begun\n', stderr: '', exitCode: 124 })
  },
  async node_stdio_carries_bytes() {
    const told = heard()
    const process_ = await sandbox.stdio.start('cat; echo end >&2; exit 4', told)
    const bytes = Uint8Array.from({ length: 256 }, (_, place) => place)
    await process_.sendStdin(bytes)
    await process_.sendStdin('text ü')
    await process_.closeStdin()
    assert.deepEqual(await process_.wait(), { exitCode: 4 })
    assert.deepEqual(told.found.out, Buffer.concat([bytes, Buffer.from('text ü')]))
    assert.equal(told.found.err.toString(), 'end\n')
    assert.equal(await process_.kill(), false)
    const killed = await sandbox.stdio.start('cat')
    assert.equal(await killed.kill(), true)
    assert.deepEqual(await killed.wait(), { exitCode: 137 })
  },
  async node_terminal_is_used_by_a_person() {
    let drawn = ''
    const onData = (data: Uint8Array) => { drawn += Buffer.from(data).toString() }
    const terminal = await sandbox.pty.create({ size: { cols: 100, rows: 30 }, envs: { PV: 'a b' }, onData })
    await terminal.sendInput('stty -echo; PS1=; echo $PV $((6 * 7)); stty size\n')
    await until(() => drawn.includes('a b 42\r\n30 100\r\n'))
    await terminal.resize({ cols: 70, rows: 20 })
    await terminal.sendInput('stty size; exit 6\n')
    assert.deepEqual(await terminal.wait(), { exitCode: 6 })
    assert.ok(drawn.includes('20 70\r\n'), drawn)
    const killed = await sandbox.pty.create()
    assert.equal(await sandbox.pty.kill(killed.pid), true)
    assert.equal(await sandbox.pty.kill(killed.pid), false)
  },
}

for (const [name, check] of Object.entries(checks)) {
  let told = 'ok'
  try {
    await check()
  } catch (error) {
    told = error instanceof Error ? error.stack ?? error.message : String(error)
  }
  console.log(name, JSON.stringify(told))
}
await sandbox.kill()
process.exit(0)
