// Checks of the door with Daytona's SDK for Node. Prints a line for each: its name, and ok or what went wrong.
import {
  Daytona,
  DaytonaAuthenticationError,
  DaytonaCommandAlreadyCompletedError,
  DaytonaConflictError,
  DaytonaConnectionError,
  DaytonaError,
  DaytonaNotFoundError,
  DaytonaProcessExecutionTimeoutError,
  DaytonaSessionEndedError,
  DaytonaValidationError,
} from '@daytona/sdk'
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

function refused(type: new (...of: any[]) => DaytonaError, status: number, code: string, source = 'DAYTONA_DAEMON') {
  return (error: any) => {
    assert.equal(error.constructor, type, String(error.stack))
    assert.deepEqual([error.statusCode, error.code, error.source], [status, code, source])
    return true
  }
}

const missing = refused(DaytonaNotFoundError, 404, 'NOT_FOUND')
const invalid = refused(DaytonaValidationError, 400, 'BAD_REQUEST')
const conflict = refused(DaytonaConflictError, 409, 'CONFLICT')

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 20))
}

async function listed(query: object): Promise<string[]> {
  const ids = []
  for await (const found of daytona.list(query)) ids.push(found.id)
  return ids
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
  async node_sandbox_is_found_and_lists_have_pages() {
    const labels = { t: 'node' }
    const made = []
    for (const asked of [{ name: 'node-one', labels }, { labels, envVars: { A: 'x' } }]) made.push(await daytona.create(asked))
    assert.equal((await daytona.get('node-one')).id, made[0].id)
    assert.deepEqual(await listed({ labels, limit: 1 }), made.map((one) => one.id))
    assert.deepEqual((await daytona.get(made[1].id)).env, { A: 'x' })
    const taken = refused(DaytonaConflictError, 409, 'CONFLICT', 'DAYTONA_API')
    await assert.rejects(daytona.create({ name: 'node-one' }), taken)
    await made[0].delete(60, true)
    await daytona.delete(made[1])
    await assert.rejects(daytona.get('node-one'), refused(DaytonaNotFoundError, 404, 'NOT_FOUND', 'DAYTONA_API'))
    assert.deepEqual(await listed({ labels }), [])
  },
  async node_sandbox_stops_starts_and_takes_settings() {
    const made = await daytona.create({ envVars: { WHO: 'me' }, autoStopInterval: 5 })
    assert.equal((await made.process.executeCommand('echo $WHO | tee file')).result, 'me\n')
    await made.stop()
    assert.equal(made.state, 'stopped')
    await assert.rejects(made.process.executeCommand('true'), conflict)
    await made.start()
    assert.equal((await made.process.executeCommand('cat file')).result, 'me\n')
    await made.pause()
    assert.equal(made.state, 'paused')
    await made.start()
    await made.setAutoDeleteInterval(9)
    await made.refreshActivity()
    await made.refreshData()
    assert.deepEqual([made.state, made.autoStopInterval, made.autoDeleteInterval], ['started', 5, 9])
    assert.deepEqual(await made.setLabels({ a: 'b' }), { a: 'b' })
    const places = `${await made.getWorkDir()} ${await made.getUserHomeDir()}`
    assert.equal((await made.process.executeCommand('printf "$PWD $HOME"')).result, places)
    await made.delete()
    await assert.rejects(made.process.executeCommand('true'), missing)
  },
  async node_errors_have_their_types() {
    const name = await session('twice')
    const process = process_
    await assert.rejects(process.createSession(name), conflict)
    await assert.rejects(process.createSession('entrypoint'), invalid)
    await assert.rejects(process.getEntrypointSession(), missing)
    await assert.rejects(process.getEntrypointLogs(), missing)
    await assert.rejects(process.getEntrypointLogs(console.log, console.log))
    await assert.rejects(process.executeSessionCommand('nobody', { command: 'true' }), missing)
    await assert.rejects(process.executeSessionCommand(name, { command: ' ' }), invalid)
    await assert.rejects(process.getSessionCommand(name, 'nobody'), missing)
    await assert.rejects(process.getSessionCommandLogs(name, 'nobody'), missing)
    await assert.rejects(follow(name, 'nobody'))
    await assert.rejects(process.executeCommand('true', undefined, { '1A': 'x' }), invalid)
    const slow = "trap '' TERM; sleep 600; sleep 600"
    const late = refused(DaytonaProcessExecutionTimeoutError, 408, 'PROCESS_EXECUTION_TIMEOUT')
    await assert.rejects(process.executeCommand(slow, undefined, undefined, 1), late)
    await assert.rejects(sandbox.fs.listFiles('/'), refused(DaytonaError, 501, 'NOT_IMPLEMENTED'))
    const stranger = new Daytona({ apiKey: 'wrong' })
    await assert.rejects(stranger.create(), refused(DaytonaAuthenticationError, 401, 'UNAUTHORIZED', 'DAYTONA_API'))
  },
  async node_session_is_serial_and_ends_with_its_shell() {
    const name = await session('serial')
    const first = await process_.executeSessionCommand(name, { command: 'read x; X=$x', runAsync: true })
    const second = process_.executeSessionCommand(name, { command: 'echo $X; cat; exit 7' })
    await until(async () => (await process_.getSession(name)).commands!.length === 2)
    assert.equal((await process_.getSessionCommand(name, first.cmdId!)).exitCode ?? null, null)
    await process_.sendSessionCommandInput(name, first.cmdId!, 'set')
    const found = await second
    assert.deepEqual([found.exitCode, found.stdout], [7, 'set\n'])
    const ended = refused(DaytonaSessionEndedError, 410, 'SESSION_ENDED')
    await assert.rejects(process_.executeSessionCommand(name, { command: 'true' }), ended)
    assert.equal((await process_.getSessionCommandLogs(name, found.cmdId!)).stdout, 'set\n')
    assert.ok((await process_.listSessions()).map((one) => one.sessionId).includes(name))
    await process_.deleteSession(name)
    await assert.rejects(process_.getSessionCommandLogs(name, found.cmdId!), missing)
  },
  async node_deletion_answers_who_waits_and_ends_streams() {
    const name = await session('deleted')
    const { cmdId } = await process_.executeSessionCommand(name, { command: 'printf begun; sleep 600', runAsync: true })
    let seen = ''
    const note = (text: string) => { seen += text }
    const following = process_.getSessionCommandLogs(name, cmdId!, note, note)
    const waiting = process_.executeSessionCommand(name, { command: 'echo never' })
    await until(async () => seen === 'begun' && (await process_.getSession(name)).commands!.length === 2)
    await Promise.all([
      process_.deleteSession(name),
      assert.rejects(waiting, invalid),
      following,
    ])
    assert.equal(seen, 'begun')
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
    const late = refused(DaytonaCommandAlreadyCompletedError, 410, 'COMMAND_ALREADY_COMPLETED')
    await assert.rejects(process_.sendSessionCommandInput(name, cmdId!, 'two'), late)
    const silent = { command: 'read a; echo got $a', runAsync: true, suppressInputEcho: true }
    const other = await process_.executeSessionCommand(name, silent)
    await process_.sendSessionCommandInput(name, other.cmdId!, 'secret\n')
    assert.deepEqual(await follow(name, other.cmdId!), ['got secret\n', ''])
  },
  async node_code_runs() {
    const found = await process_.executeCommand('echo out; exit 3')
    assert.deepEqual([found.exitCode, found.result], [3, 'out\n'])
    const placed = await process_.executeCommand('echo $PWD $A {1..3}; echo err >&2', '/usr', { A: 'x' }, 60)
    assert.deepEqual([placed.exitCode, placed.result], [0, '/usr x 1 2 3\nerr\n'])
    const lost = await process_.executeCommand('pwd', '/nowhere')
    assert.ok(lost.exitCode === -1 && lost.result.includes('/nowhere'), lost.result)
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
  async node_terminal_has_several_clients_and_is_killed() {
    const drawn = ['', '']
    const draw = (place: number) => (data: Uint8Array) => { drawn[place] += Buffer.from(data).toString() }
    const first = await process_.createPty({ id: 'many', cwd: '/usr', onData: draw(0) })
    await assert.rejects(process_.createPty({ id: 'many', onData: draw(0) }))
    await first.sendInput("stty -echo; PS1=; echo o$((0))n $PWD\n")
    await until(() => drawn[0].includes('o0n /usr'))
    const second = await process_.connectPty('many', { onData: draw(1) })
    assert.ok(second.isConnected())
    const { createdAt, envs, ...info } = await process_.getPtySessionInfo('many')
    assert.equal(envs.TERM, 'xterm-256color')
    assert.deepEqual(info, { id: 'many', cwd: '/usr', cols: 80, rows: 24, active: true, lazyStart: false })
    assert.deepEqual((await process_.listPtySessions()).map((one) => one.id), ['many'])
    const size = await second.resize(132, 40)
    assert.deepEqual([size.cols, size.rows], [132, 40])
    await second.sendInput('stty size; sleep 600\n')
    await until(() => drawn.every((text) => text.includes('40 132')))
    assert.ok(!drawn[1].includes('o0n'), drawn[1])
    await process_.killPtySession('many')
    for (const terminal of [first, second]) {
      assert.deepEqual(await terminal.wait(), { exitCode: 137, error: 'SIGKILL' })
    }
    await assert.rejects(process_.getPtySessionInfo('many'), missing)
    await assert.rejects(process_.resizePtySession('many', 80, 24), missing)
    await assert.rejects(process_.connectPty('nobody', { onData: draw(0) }), DaytonaConnectionError)
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
