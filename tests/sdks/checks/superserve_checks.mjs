// Checks of the door with Superserve's SDK for Node. Prints a line for each: its name, and ok or what went wrong.
// Node's own fetch asks no proxy before Node 24, and there is no WebSocket before Node 22: undici has both.
import { AuthenticationError, NotFoundError, Sandbox, ValidationError } from '@superserve/sdk'
import assert from 'node:assert'
import { EnvHttpProxyAgent, WebSocket, setGlobalDispatcher } from 'undici'

setGlobalDispatcher(new EnvHttpProxyAgent())
globalThis.WebSocket ??= WebSocket

const sandbox = await Sandbox.create({ name: 'node', envVars: { WHO: 'me' } })
const commands = sandbox.commands

async function stream(command, options = {}) {
  let out = ''
  let err = ''
  const onStdout = (text) => { out += text }
  const onStderr = (text) => { err += text }
  return [await commands.run(command, { ...options, onStdout, onStderr }), out, err]
}

const checks = {
  async node_sandbox_is_found_and_paused() {
    const made = await Sandbox.create({ name: 'x', metadata: { by: 'node' } })
    await made.commands.run('echo kept >file')
    await made.pause()
    const [info] = await Sandbox.list({ metadata: { by: 'node' } })
    assert.deepEqual([info.id, info.status], [made.id, 'paused'])
    assert.equal((await made.commands.run('cat file')).stdout, 'kept\n')
    await made.pause()
    await made.resume()
    assert.equal((await made.getInfo()).status, 'active')
    const other = await Sandbox.connect(made.id)
    assert.equal((await other.commands.run('cat file')).stdout, 'kept\n')
    await made.kill()
    await assert.rejects(Sandbox.connect(made.id), NotFoundError)
  },
  async node_sandbox_is_updated_and_killed_by_its_id() {
    const { id } = await Sandbox.create({ name: 'x', timeoutSeconds: 3000, metadata: { by: 'id' } })
    await Sandbox.updateById(id, { metadata: { by: 'another' }, timeoutSeconds: null })
    const [info] = await Sandbox.list({ metadata: { by: 'another' } })
    assert.deepEqual([info.id, info.timeoutSeconds ?? null], [id, null])
    await Sandbox.killById(id)
    await Sandbox.killById(id)
    assert.deepEqual(await Sandbox.list({ metadata: { by: 'another' } }), [])
  },
  async node_token_is_asked_for_once_more() {
    const other = await Sandbox.create({ name: 'other' })
    const own = sandbox._accessToken
    for (const wrong of ['nonsense', other._accessToken, process.env.SUPERSERVE_API_KEY]) {
      sandbox._accessToken = wrong
      assert.equal((await commands.run('echo x >>once; wc -l <once; rm once')).stdout, '1\n')
      sandbox._accessToken = wrong
      assert.equal((await stream('echo x >>once; wc -l <once; rm once'))[1], '1\n')
      sandbox._accessToken = wrong
      assert.equal((await (await commands.spawn('echo $WHO')).wait()).stdout, 'me\n')
      assert.equal(sandbox._accessToken, own)
    }
    await other.pause()
    assert.equal((await stream('echo on'))[1], 'on\n')
    assert.equal((await (await other.commands.spawn('echo awake')).wait()).stdout, 'awake\n')
    await other.kill()
    await assert.rejects(other.commands.run('true'))
  },
  async node_run_tells_all() {
    const found = await commands.run('echo $WHO $A; echo e >&2; pwd; cat; exit 3', { cwd: '/usr', env: { A: 'b' } })
    assert.deepEqual([found.stdout, found.stderr, found.exitCode], ['me b\n/usr\n', 'e\n', 3])
    assert.equal((await commands.run('kill -9 $$')).exitCode, 137)
    assert.equal((await commands.run('no-such-program')).exitCode, 127)
    const missed = await commands.run('pwd', { cwd: '/nowhere' })
    assert.ok(missed.exitCode === 127 && missed.stderr.includes('/nowhere'))
  },
  async node_streams_are_exact() {
    const text = 'ü€😀\u2028\u2029\u0085\t end'
    const parts = [...Buffer.from(text)].map((byte) => `printf '\\${byte.toString(8).padStart(3, '0')}'; sleep 0.01`)
    const [found, out] = await stream(parts.join('; '))
    assert.deepEqual([found.stdout, out], [text, text])
    const [large, large_out, err] = await stream("head -c 3000000 /dev/zero | tr '\\0' x; seq 5000 >&2; exit 4")
    assert.equal(large.exitCode, 4)
    assert.equal(large_out, 'x'.repeat(3_000_000))
    assert.equal(err.split('\n').length, 5001)
  },
  async node_answers_are_not_too_large() {
    const found = await commands.run("head -c 30000000 /dev/zero; echo e >&2")
    assert.ok(found.stdout.length > 1_000_000 && found.stderr.startsWith('e\n\n[there was more'), found.stderr)
  },
  async node_time_limits_end_everything() {
    const nap = `sleep ${2_000_000 + process.pid}`
    const text = `echo begun; trap '' TERM; ${nap} & ${nap}; ${nap}`
    const found = await commands.run(text, { timeoutMs: 1000 })
    assert.deepEqual([found.stdout, found.exitCode], ['begun\n', 124])
    const [streamed, out] = await stream(text, { timeoutMs: 1000 })
    assert.deepEqual([out, streamed.exitCode], ['begun\n', 124])
    assert.equal((await commands.run(`pgrep -f '^${nap}'`)).stdout, '')
  },
  async node_errors_have_their_types() {
    await assert.rejects(commands.run(''), ValidationError)
    await assert.rejects(Sandbox.connect('nobody'), NotFoundError)
    await assert.rejects(Sandbox.create({ name: 'x', apiKey: 'wrong' }), AuthenticationError)
  },
  async node_spawn_is_written_to() {
    let out = ''
    const session = await commands.spawn('read a; echo got $a; cat; exit 3', { onStdout: (text) => { out += text } })
    session.stdin.write('one\n')
    session.stdin.write('ü')
    session.stdin.close()
    const found = await session.wait()
    assert.deepEqual([found.stdout, found.exitCode, out], ['got one\nü', 3, 'got one\nü'])
    const killed = await commands.spawn('sleep 1000')
    killed.kill('SIGKILL')
    assert.equal((await killed.wait()).exitCode, 137)
    const limited = await commands.spawn('echo begun; sleep 1000', { timeoutMs: 500 })
    assert.deepEqual(await limited.wait(), { stdout: 'begun\n', stderr: '', exitCode: 124 })
  },
  async node_spawn_ends_with_its_client() {
    const nap = `sleep ${3_000_000 + process.pid}`
    const sleeping = async () => (await commands.run(`pgrep -f '^${nap}'`)).stdout !== ''
    const session = await commands.spawn(`trap '' TERM; ${nap} & ${nap}; ${nap}`)
    while (!await sleeping());
    session.close()
    while (await sleeping());
    await assert.rejects(session.wait())
  },
}

for (const [name, check] of Object.entries(checks)) {
  let told = 'ok'
  try {
    await check()
  } catch (error) {
    told = String(error.stack ?? error)
  }
  console.log(`${name} ${JSON.stringify(told)}`)
}
await sandbox.kill()
process.exit(0)
