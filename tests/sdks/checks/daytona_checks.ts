// Checks of the door with Daytona's SDK for Node. Prints a line for each: its name, and ok or what went wrong.
import { Daytona, DaytonaConflictError, DaytonaNotFoundError } from '@daytona/sdk'
import assert from 'node:assert'

const daytona = new Daytona()
const sandbox = await daytona.create()
const process_ = sandbox.process

async function session(name: string): Promise<string> {
  await process_.createSession(name)
  return name
}

async function follow(name: string, id: string): Promise<[string, string]> {
  let out = ''
  let err = ''
  await process_.getSessionCommandLogs(name, id, (text: string) => { out += text }, (text: string) => { err += text })
  return [out, err]
}

const checks: Record<string, () => Promise<void>> = {
  async node_session_keeps_its_state() {
    const name = await session('state')
    await process_.executeSessionCommand(name, { command: 'cd /usr; X=1' })
    const found = await process_.executeSessionCommand(name, { command: 'pwd; echo $X; echo err >&2; (exit 5)' })
    assert.deepEqual([found.exitCode, found.stdout, found.stderr], [5, '/usr\n1\n', 'err\n'])
    const logs = await process_.getSessionCommandLogs(name, found.cmdId!)
    assert.deepEqual([logs.stdout, logs.stderr], ['/usr\n1\n', 'err\n'])
    await process_.deleteSession(name)
    await assert.rejects(process_.getSession(name), DaytonaNotFoundError)
  },
  async node_errors_have_their_types() {
    const name = await session('twice')
    await assert.rejects(process_.createSession(name), DaytonaConflictError)
    await assert.rejects(daytona.get('nobody'), DaytonaNotFoundError)
  },
  async node_streams_are_exact() {
    const name = await session('exact')
    const parts = ['a\\0b', '\\001\\001\\001x\\002\\002\\002\\002', '\\001\\001\\001\\001', '\\303', '\\274 end']
    const command = parts.map((part) => `printf '${part}'; printf '${part}' >&2; sleep 0.05`).join('; ')
    const { cmdId } = await process_.executeSessionCommand(name, { command, runAsync: true })
    const wanted = 'a\0b\x01\x01\x01x\x02\x02\x02\x02\x01\x01\x01\x01ü end'
    assert.deepEqual(await follow(name, cmdId!), [wanted, wanted])
    assert.deepEqual(await follow(name, cmdId!), [wanted, wanted])
  },
  async node_streams_may_be_large() {
    const name = await session('large')
    const command = "head -c 1000000 /dev/zero | tr '\\0' x; seq 5000 >&2"
    const { cmdId } = await process_.executeSessionCommand(name, { command, runAsync: true })
    const [out, err] = await follow(name, cmdId!)
    assert.equal(out, 'x'.repeat(1_000_000))
    assert.equal(err.split('\n').length, 5001)
  },
  async node_input_is_delivered() {
    const name = await session('input')
    const { cmdId } = await process_.executeSessionCommand(name, { command: 'read a; echo got $a', runAsync: true })
    await process_.sendSessionCommandInput(name, cmdId!, 'one')
    const [out] = await follow(name, cmdId!)
    assert.ok(out.includes('one\n') && out.includes('got one\n'), out)
  },
  async node_code_runs() {
    const found = await process_.executeCommand('echo out; exit 3')
    assert.deepEqual([found.exitCode, found.result], [3, 'out\n'])
    const shown = await sandbox.process.codeRun('print(6 * 7)')
    assert.deepEqual([shown.exitCode, shown.result], [0, '42\n'])
    for (const language of ['javascript', 'typescript']) {
      const other = await daytona.create({ language })
      const answer = await other.process.codeRun('const a = 6 * 7; console.log(a, process.argv.slice(2))', { argv: ['x y'] })
      await other.delete()
      assert.deepEqual([language, answer.exitCode, answer.result], [language, 0, "42 [ 'x y' ]\n"])
    }
  },
  async node_terminal_is_used_by_a_person() {
    let drawn = ''
    const onData = (data: Uint8Array) => { drawn += Buffer.from(data).toString() }
    const terminal = await process_.createPty({ id: 't', cols: 100, rows: 30, envs: { PV: 'a b' }, onData })
    await terminal.waitForConnection()
    await terminal.sendInput('stty -echo; PS1=; echo $PV $((6 * 7)); stty size; exit 3\n')
    const result = await terminal.wait()
    assert.equal(result.exitCode, 3)
    assert.ok(drawn.includes('a b 42') && drawn.includes('30 100'), drawn)
  },
}

for (const [name, check] of Object.entries(checks)) {
  let told = 'ok'
  try {
    await check()
  } catch (error) {
    told = String((error as Error).stack ?? error)
  }
  console.log(`${name} ${JSON.stringify(told)}`)
}
await sandbox.delete()
process.exit(0)
