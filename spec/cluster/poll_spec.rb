# frozen_string_literal: true

require "spec_helper"

# A session lives in one worker, and its polls reach any of them.
RSpec.describe "Long polls across workers", transport: :tcp do
  include ChannelClients

  # Each client subscribes to the channel in its path, and gets "own-…" for each message from the handler, by client.write. Paths that
  # begin with "_" are for the spec.
  source = <<~'CONFIG'
    require "json"
    require "spec_app"

    PushServer.channel "kept*", history: 10_000

    class Polled < SpecApp::Recorder
      def on_open(client)
        channel = client.env["PATH_INFO"].delete_prefix("/")
        client.subscribe(channel, member: client.env["HTTP_X_MEMBER"])
        client.subscribe(channel) { |_, data| client.write("own-#{data}") } if client.env["HTTP_X_WRITES"]
        SpecApp.report(:opened, client, pid: Process.pid)
        super
      end
    end

    answer = lambda do |verb = nil, first = nil, second = nil|
      case verb
      when nil then Process.pid
      when "_publish" then PushServer.publish(first, second)
      when "_disconnect" then PushServer.disconnect(member: first)
      when "_write" then SpecApp.clients.count { |client| client.open? && client.write(second * Integer(first)) }
      end
    end

    run(lambda do |env|
      _, *words = env["PATH_INFO"].split("/")
      next [200, {}, [answer.call(*words).to_s]] if words.empty? || words.first.start_with?("_")

      SpecApp.report(:call, id: env["QUERY_STRING"].sub(/push_wait=0/, "push_wait=25"), pid: Process.pid)
      env["push_server.session_owner"] = env["HTTP_X_OWNER"]
      next [403, {}, []] if env["HTTP_X_REFUSED"]

      env["rack.upgrade"] = Polled.new
      [200, { "set-cookie" => "worker=#{Process.pid}" }, []]
    end)
  CONFIG

  # Closes the connections of this spec that are no page's: a worker that drains waits for another request on them.
  def close_idle = @clients.grep(HttpClient).each { |client| client.close unless client.closed? }

  # A page whose session is in this worker, and which has read its push.open.
  def polling_on(pid, channel, **options)
    client = poller("/#{channel}", **options)
    opening = poll_on(pid, client).events.first
    expect(opening.event).to eq("push.open")
    expect(event(:opened, client)[:pid]).to eq(pid)
    client
  end

  # Sends a poll to this worker, and waits until the app has been called. name: the client whose name the poll has.
  def ask_on(pid, client, name: client, **how)
    client.close unless client.closed?
    client.http = http_on(pid)
    client.ask(**how)
    expect(event(:call, name)[:pid]).to eq(pid)
    client
  end

  def poll_on(pid, client, **how) = ask_on(pid, client, **how).answer

  # Polls any workers, a new connection for each poll, until there are so many events.
  def gather(client, count)
    all = []
    expect_eventually("#{count} events") do
      client.close
      all.concat(client.poll.events)
      all.size >= count
    end
    all
  end

  def callbacks(client) = story(client).grep(/open\z|shutdown|close/)

  def expect_callbacks(client, *names)
    expect_eventually("the callbacks #{names}, there are #{callbacks(client)}") { callbacks(client) == names }
  end

  def opening_of(event)
    expect(event.event).to eq("push.open")
    JSON.parse(event.data, symbolize_names: true)
  end

  # What pages have got, each by a connection of its own for each poll.
  class Hopping
    attr_reader :got

    def initialize(pages)
      @got = pages.to_h { |page| [page, []] }
    end

    # All poll at the same time. The block is called while the polls wait; without it, all of them have something to get.
    def poll_all(pages = @got.keys)
      # A worker that drains would wait for another request on the connection.
      pages.each { |page| page.ask(headers: { "connection" => "close" }) }
      yield if block_given?
      pages.each { |page| @got[page].concat(answer(page)) }
    end

    def texts(page) = @got[page].reject { |event| event.event == "push.open" }.map(&:data)
    def openings(page) = @got[page].select { |event| event.event == "push.open" }.map { |event| JSON.parse(event.data, symbolize_names: true) }
    def lost(page) = openings(page).count { |opening| opening[:lost] }

    private

    # A worker that is killed answers nothing.
    def answer(page)
      page.answer.events
    rescue RawConnection::Ended, Errno::ECONNRESET
      []
    ensure
      page.close
    end
  end

  # 100 pages that get each message of a channel, and "own-…" by client.write.
  def hopping = Hopping.new(Array.new(100) { poller("/kept", headers: { "x-writes" => "1" }) })

  # Polls until each page has all that was published.
  def expect_all(hopping, texts)
    expect_eventually("all messages") do
      behind = hopping.got.keys.reject { |page| hopping.texts(page).reject { |text| text.start_with?("own-") } == texts }
      hopping.poll_all(behind)
      behind.empty?
    end
  end

  # Stops the server. Each session that it has ends with on_shutdown and on_close.
  def stop
    close_idle
    app.stop
  end

  it "are one session, with nothing lost or twice, when 100 clients hop between four workers" do
    start_cluster(source, "--poll-linger", "600", workers: 4)
    hopping = self.hopping
    hopping.poll_all
    wanted = Array.new(6) { |round| [round.to_s, "own-#{round}"] }
    wanted.each do |message, _|
      fetch("/_publish/kept/#{message}")
      hopping.poll_all
    end
    pages = hopping.got.keys
    expect_eventually("all messages") do
      behind = pages.select { |page| hopping.texts(page).size < 12 }
      hopping.poll_all(behind)
      behind.empty?
    end
    pages.each do |page|
      expect(hopping.openings(page).size).to eq(1)
      own, channel = hopping.texts(page).partition { |data| data.start_with?("own-") }
      expect([channel, own]).to eq(wanted.transpose)
    end
    expect(app.events.all(event: "call").map { |call| call[:pid] }.uniq).to match_array(workers.values)
    stop
    pages.each { |page| expect(callbacks(page)).to eq(%i[open shutdown close]) }
  end

  # 100 clients hop on. A session ends with its worker, and its client gets another one.
  it "lose no message, and begin no session twice, while workers are replaced and killed" do
    start_cluster(source, "--poll-linger", "600", workers: 4)
    hopping = self.hopping
    published = []
    publish = -> { fetch("/_publish/kept/#{published.push(published.size.to_s).last}") }
    hopping.poll_all
    publish.call
    hopping.poll_all
    before = workers.values
    hopping.poll_all { app.signal("USR1") }
    until app.output.match?(/the phased restart is done/) || published.size > 500
      publish.call
      hopping.poll_all
    end
    publish.call
    # All have a session again, in the workers that will be there.
    expect_all(hopping, published)
    expect_new_workers([1, 2, 3, 4], before: before)
    expect(hopping.got.keys.sum { |page| hopping.lost(page) }).to eq(0)

    victim = workers[1]
    pages = hopping.got.keys
    sessions = app.events.all(event: "opened").to_h { |opened| [opened[:id], opened[:pid]] }
    orphans = pages.select { |page| sessions.fetch(page.id) == victim }
    hopping.poll_all do
      Process.kill("KILL", victim)
      expect_eventually("another worker 1") { (now = workers)[1] && now[1] != victim }
      publish.call
    end
    expect_all(hopping, published)

    expect(pages.select { |page| hopping.lost(page) == 1 }).to match_array(orphans)
    expect(orphans).not_to be_empty
    stop
    pages.each do |page|
      own = hopping.texts(page).grep(/own-/).map { |text| Integer(text.delete_prefix("own-")) }
      expect(own).to eq(own.sort.uniq)
      calls = callbacks(page).tally
      expect(calls[:open]).to eq(hopping.openings(page).size)
      expect(calls[:close]).to eq(calls[:open] - hopping.lost(page))
      expect(hopping.openings(page).drop(1).map { |opening| opening.except(:lost) }).to all(eq(recovered: true, gap: []))
    end
  end

  it "are answered by the session's worker, with the cookies of the worker that was asked" do
    start_cluster(source)
    first, second = workers.values
    page = polling_on(first, "kept")
    ask_on(second, page)
    get("/_publish/kept/hello")
    answer = page.answer
    expect([answer.data, answer.response["set-cookie"]]).to eq([["hello"], "worker=#{second}"])
    expect(poll_on(second, page, wait: 0).events).to eq([])
    http_on(first).get("/_write/700000/x")
    expect(poll_on(second, page).data.map(&:size)).to eq([700_000])
    expect_callbacks(page, :open)
  end

  it "bring an answer that is longer than all that may be underway" do
    start_cluster(source)
    first, second = workers.values
    page = polling_on(first, "kept")
    3.times { http_on(first).get("/_write/300000/long") }
    sizes = poll_on(second, page).data.map(&:size)
    sizes.concat(poll_on(second, page).data.map(&:size)) until sizes.sum >= 3_600_000
    expect(sizes).to eq([1_200_000] * 3)
  end

  it "continue the session of their owner only" do
    start_cluster(source)
    first, second = workers.values
    page = polling_on(first, "kept", headers: { "x-owner" => "u7" })
    http_on(first).get("/_write/1/secret")
    [{ "x-owner" => "u8" }, {}].each do |headers|
      [first, second].each do |pid|
        stranger = poller("/kept", cursor: page.cursor, headers: headers)
        events = poll_on(pid, stranger, target: "/kept?#{page.id}", name: page).events
        expect(events.map { |it| opening_of(it) }).to eq([{ recovered: true, gap: [] }])
      end
    end
    expect(poll_on(second, page).data).to eq(["secret"])
    expect(app.events.all(event: "close", id: page.id)).to eq([])
  end

  it "end their session when the app refuses one, unless it is another owner's" do
    start_cluster(source)
    first, second = workers.values
    page = polling_on(first, "kept", headers: { "x-owner" => "u7" })
    ask_on(first, page)
    refuse = lambda do |owner|
      other = poller("/kept", cursor: page.cursor, headers: { "x-owner" => owner, "x-refused" => "1" })
      expect(poll_on(second, other, target: "/kept?#{page.id}", name: page).status).to eq(403)
    end
    refuse.call("u8")
    get("/_publish/kept/still")
    expect(page.answer.data).to eq(["still"])
    ask_on(first, page)
    refuse.call("u7")
    expect(page.answer.ids.last).to match(/\A\h+-\d+\z/)
    event(:close, page)
    expect_callbacks(page, :open, :close)
  end

  it "tell a disconnected member so, whichever worker it polls and whichever worker disconnects it" do
    start_cluster(source, "--close-timeout", "60", "--poll-linger", "60", workers: 3)
    workers.each_value do |pid|
      name = "member-of-#{pid}"
      first, second, third = workers.values
      waiting, later = Array.new(2) { polling_on(first, "kept", headers: { "x-member" => name }) }
      ask_on(second, waiting)
      http_on(third).get("/_publish/kept/before")
      expect(waiting.answer.data).to eq(["before"])
      ask_on(second, waiting)
      http_on(pid).get("/_disconnect/#{name}")

      expect(waiting.answer.events.map(&:event)).to eq(["push.bye"])
      event(:close, waiting)
      # This one has not polled since. What was published before comes first.
      expect(poll_on(third, later).events.map(&:event)).to eq(%w[msg push.bye])
      event(:close, later)
    end
  end

  it "are cancelled at the session's worker when their client goes away" do
    start_cluster(source, "--poll-linger", "3")
    first, second = workers.values
    page = polling_on(first, "kept")
    ask_on(second, page)
    page.lose
    event(:close, page)
    expect_callbacks(page, :open, :close)
  end

  it "begin a session in a new worker after a phased restart, and go on from the cursor" do
    start_cluster(source)
    before = workers.values
    pages = before.product([1, 2]).map { |pid, _| polling_on(pid, "kept") }
    # Half of the polls wait, each at another worker than that of its session.
    waiting, others = pages.each_slice(2).to_a.transpose
    waiting.zip(before.rotate).each { |page, pid| ask_on(pid, page) }
    others.each(&:close)
    app.signal("USR1")
    got = waiting.map { |page| page.answer.events.tap { page.close } }
    close_idle
    app.wait_for_line(/the phased restart is done/, seconds: 30)
    get("/_publish/kept/first")
    pages.each { |page| expect(gather(page, 2).map(&:data)).to eq(['{"recovered":true,"gap":[]}', "first"]) }
    expect(got).to all(eq([]))
    get("/_publish/kept/second")
    pages.each do |page|
      expect(gather(page, 1).map(&:data)).to eq(["second"])
      expect_eventually("the callbacks") { callbacks(page).tally == { open: 2, shutdown: 1, close: 1 } }
    end
    expect(app.events.all(event: "opened").map { |opened| opened[:pid] }.last(4) & before).to eq([])
  end

  it "begin a new session when the session's worker was killed, and say that something may be lost" do
    start_cluster(source, workers: 3)
    first, second, third = workers.values
    page = polling_on(first, "kept")
    other = polling_on(second, "kept")
    http_on(first).get("/_write/1/gone")
    ask_on(third, other)
    Process.kill("KILL", first)
    expect_eventually("another worker 1") { (now = workers)[1] && now[1] != first && answering.size == 3 }
    get("/_publish/kept/news")

    expect(other.answer.data).to eq(["news"])
    opening, *rest = gather(page, 2)
    expect(opening_of(opening)).to eq(recovered: true, gap: [], lost: true)
    expect(rest.map(&:data)).to eq(["news"])
    expect_callbacks(page, :open, :open)
    expect_callbacks(other, :open)
  end

  it "say that something may be lost, too, if another hub and another supervisor run since the session's worker was killed" do
    start_cluster(source)
    first, second = workers.values
    page = polling_on(first, "kept")
    Process.kill("KILL", first)
    expect_eventually("another worker 1") { (now = workers).size == 2 && now[1] != first }
    hub = kill_hub
    expect_another_hub(hub)
    before = [second, tree.hub.pid]
    close_idle
    app.signal("USR2")
    expect_eventually("a new hub and new workers", seconds: 60) do
      (now = workers).size == 2 && ([*now.values, tree.hub&.pid] & before).empty?
    end
    page.close
    expect(opening_of(gather(page, 1).first)).to eq(recovered: true, gap: [], lost: true)
  end

  it "are answered with their own ID when the hub dies, and have lost nothing" do
    start_cluster(source, "--publish-timeout", "30")
    first, second = workers.values
    page = polling_on(first, "kept")
    cursor = page.cursor
    ask_on(second, page)
    killed = tree.hub.pid
    Process.kill("KILL", killed)
    answer = page.answer
    expect([answer.events, answer.ids]).to eq([[], [cursor]])

    # While there is no hub, too.
    ask_on(second, page)
    http_on(first).get("/_write/1/written")
    get("/_publish/kept/published")
    events = page.answer.events
    events.concat(poll_on(second, page).events) while events.size < 2
    expect(events.map(&:data)).to contain_exactly("written", "published")
    expect_callbacks(page, :open)
  end

  it "wait for a worker that does not answer no longer than they are to wait" do
    start_cluster(source)
    first, second = workers.values
    page = polling_on(first, "kept")
    cursor = page.cursor
    connection = http_on(second)
    Process.kill("STOP", first)
    expect_eventually("it to be stopped") { File.read("/proc/#{first}/stat")[/\) (\w)/, 1] == "T" }
    page.http = connection
    answer = page.poll(wait: 0)
    expect([answer.events, answer.ids]).to eq([[], [cursor]])
    connection.get("/_publish/kept/meanwhile")
    Process.kill("CONT", first)
    expect(gather(page, 1).map(&:data)).to eq(["meanwhile"])
    expect_callbacks(page, :open)
  ensure
    Process.kill("CONT", first) if first
  end
end
