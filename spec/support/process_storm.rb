# frozen_string_literal: true

require_relative "app_process"
require_relative "process_storm/faults"
require_relative "process_storm/ledger"
require_relative "process_storm/outsider"
require_relative "process_storm/poll_reader"
require_relative "process_storm/publishers"
require_relative "process_storm/readers"

# Many clients that come, go and are cut, many publishers in different workers and one outside, while processes of the server are
# restarted, killed and stopped. Afterwards each client must have got every message of its channels once and in order, or have been
# told of a gap that is allowed; and each client and each worker must know the members of its channels, who are the clients that are
# still there. On the way, no client may be told of a join or leave that contradicts what it knows.
class ProcessStorm
  # With the rules that most apps have: some channels keep messages, others do not.
  KEPT = %w[kept-0 kept-1 kept-2 kept-3 kept-4 kept-5].freeze
  LIVE = %w[live-0 live-1 live-2 live-3].freeze
  CHANNELS = (KEPT + LIVE).freeze
  # Clients of this process, of the server's process, and of the machine are slow together.
  PATIENT = ["--head-timeout", 600, "--pong-timeout", 600, "--handshake-timeout", 600].freeze
  # Members leave soon, so that some leave during the storm.
  OPTIONS = [*PATIENT, "--poll-linger", 3, "--presence-linger", 1].freeze
  # Members stay for longer than the storm lasts.
  FOREVER = [*PATIENT, "--poll-linger", 3, "--presence-linger", 3600].freeze
  # The hub may be away for a while.
  CLUSTER = ["--publish-timeout", 30].freeze

  APP = <<~'CONFIG'
    require "push_server"
    require "json"
    PushServer.channel "kept-*", history: 100_000, ttl: nil, presence: true
    PushServer.channel "live-*", presence: true

    Subscriber = Struct.new(:channels, :member) do
      def on_open(client) = channels.each { |channel| client.subscribe(channel, member: member) }
    end

    publish = ->(lines) { lines.map { |line| PushServer.publish(line[/\A\S+/], line) } }

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/subscribe"
        channels, member = env["QUERY_STRING"].split("&")
        env["rack.upgrade"] = Subscriber.new(channels.split(","), member.delete_prefix("member=")) if env["rack.upgrade?"]
        [200, {}, []]
      when "/present"
        names = env["QUERY_STRING"].split(",").to_h { |channel| [channel, PushServer.present(channel).keys] }
        [200, {}, [JSON.generate([Process.pid, names])]]
      when "/publish"
        lines = env["rack.input"].read.force_encoding("UTF-8").lines(chomp: true)
        case env["QUERY_STRING"]
        when "look" then [200, {}, [publish.call(lines).join("\n")]]
        when "quick" then [200, {}, [publish.call(lines).size.to_s.clear]]
        else
          Thread.new { publish.call(lines) }
          [200, {}, []]
        end
      else [200, {}, [Process.pid.to_s]]
      end
    end)
  CONFIG

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  # What happens, on stderr, with STORM_TRACE=1.
  def self.trace(text) = ENV["STORM_TRACE"] && warn(format("%.3f %s", now, text))

  # The parts of a cursor.
  def self.cursor(text)
    epoch, _, seq = text.to_s.rpartition("-")
    [epoch, Integer(seq, 10)] unless epoch.empty?
  end

  attr_reader :readers, :ledger, :publishers

  # kinds: of Faults. seconds: how long; with faults and without seconds, until each kind has happened once. pause: of a publishing
  # thread between two requests, on average. share: how many of them publish. leave: whether clients leave by themselves. channels: KEPT
  # alone, if all clients of a channel may be away at the same time. forever: the server's members linger for longer than the storm
  # lasts; see FOREVER. transports: of the clients.
  def initialize(app, seed:, clients: 300, threads: 8, workers: nil, kinds: Faults::ALL, seconds: nil, pause: 0.1, share: 1,
                 leave: true, channels: CHANNELS, forever: false, transports: %i[websocket sse poll])
    @app, @seconds, @channels, @workers, @leave = app, seconds, channels, workers || 1, leave
    @forever, @transports = forever, transports
    @random = Random.new(seed)
    @ledger = Ledger.new
    @readers = Readers.new(Array.new(clients) { |index| reader(index, clients) })
    @readers.all.each(&:stay) unless leave
    publishing = Random.new(@random.rand(1 << 30))
    @publishers = Publishers.new(app.address, channels, publishing, @ledger, threads: threads, pause: pause, share: share)
    @outsider = Outsider.new(app, channels, @ledger) if workers
    @faults = Faults.new(app, Random.new(@random.rand(1 << 30)), workers: workers, kinds: kinds) { publishes? } if workers
  end

  # Runs the storm, and returns what went wrong: a line each.
  def run
    @readers.start
    @readers.await_first_visit(Deadline.in(60))
    @publishers.start
    @outsider&.start
    @faults ? @faults.run(seconds: @seconds) : sleep(@seconds)
    [@publishers, @outsider].compact.each(&:stop)
    await_members
    await_end
    errors
  ensure
    @faults&.finish
    @publishers.kill
    @outsider&.kill
    @readers.stop
  end

  # In words, for people.
  def summary
    deliveries = @readers.all.sum(&:received)
    "#{@ledger.size} messages, #{@publishers.requests} requests, #{deliveries} deliveries, #{@readers.all.sum(&:visits)} connections, " \
      "#{@readers.all.sum { |reader| reader.gaps.size }} gaps, #{@publishers.failures.size} failed requests, " \
      "#{@ledger.epochs.size} epochs, #{@faults&.events&.size.to_i} faults"
  end

  private

  # Three clients have the same member, on average.
  def reader(index, clients)
    kind = @transports[index % @transports.size]
    channels = (index / @transports.size % 3 == 2 ? @channels : KEPT).sample(3, random: @random)
    (kind == :poll ? PollReader : Reader).new(@app.address, channels, kind, Random.new(@random.rand(1 << 30)), @ledger,
                                              member: "m#{@random.rand(1 + (clients / 3))}", forever: @forever)
  end

  # A few clients go. Their members must leave, unless others are the same member.
  def await_members
    gone = @leave ? @readers.all.sample(@readers.all.size / 5, random: @random) : []
    @readers.retire(gone)
    known = @forever ? @readers.all : @readers.all - gone
    members = @channels.to_h { |channel| [channel, known.select { |it| it.channels.include?(channel) }.map(&:member).uniq.sort] }
    deadline = Deadline.in(60)
    @readers.await_members(members, deadline)
    workers = {}
    until (now = workers).size == @workers && now.values.all?(members)
      raise Deadline::Missed, "the workers know other members than #{members}: #{workers}" if deadline.passed?

      workers.clear if workers.size == @workers
      workers.store(*present)
    end
  end

  # The pid of a worker, and the members that it knows.
  def present
    client = HttpClient.new(@app.address)
    JSON.parse(client.get("/present?#{@channels.join(",")}").body)
  ensure
    client&.close
  end

  # Ends are published until all have got theirs: a gap may have swallowed one.
  def await_end
    ends = 0
    stop = false
    ending = Thread.new do
      until stop
        @publishers.publish_ends(ends += 1)
        sleep 0.5
      end
    end
    ending.report_on_exception = false
    @readers.await_end(Deadline.in(60))
  ensure
    stop = true
    ending&.join
  end

  def publishes?
    @probes = @probes.to_i + 1
    failed = @publishers.failures.size
    @publishers.publish_probe(@probes)
    @publishers.failures.size == failed
  end

  def errors
    @ledger.check
    all = @ledger.errors + missing + wrong_gaps + cuts + failures + epochs
    File.write(ENV.fetch("STORM_ERRORS"), all.join("\n")) if ENV.key?("STORM_ERRORS")
    all
  end

  def missing
    @readers.all.flat_map do |reader|
      reader.segments.flat_map { |channel, all| all.filter_map { |segment| missed(reader, channel, segment) } }
    end
  end

  # A segment has all messages from its start to its end.
  def missed(reader, channel, segment)
    epoch, to = ProcessStorm.cursor(segment.to)
    # A gap by a new epoch ended it: what it had got is compared by itself.
    to = segment.got.last if epoch != segment.epoch
    expected = @ledger.numbers(segment.epoch, channel).select { |seq| to && seq <= to && belongs?(segment, seq) }
    missing = expected - segment.got
    return if missing.empty? && segment.got == segment.got.uniq

    "#{reader}: missed #{missing.size} of #{channel} (such as #{segment.epoch}-#{missing.first}), though not told of a gap"
  end

  def belongs?(segment, seq)
    return seq > segment.from if segment.from
    return true if segment.got.first && seq >= segment.got.first

    # Where a gap ends is known by time alone: what was published after it was told.
    (publication = @ledger.publication(segment.epoch, seq)) && publication.sent > segment.began
  end

  def wrong_gaps
    @readers.all.flat_map { |reader| reader.gaps.filter_map { |gap| wrong_gap(reader, gap) } }
  end

  def wrong_gap(reader, gap)
    return if @faults&.excuse_gap?(gap)
    return if LIVE.include?(gap.channel) && (!gap.live || @faults&.excuse?(gap.at - 5, gap.at))

    how = gap.live ? "on an open connection" : "when it came back"
    "#{reader}: was told of a gap on #{gap.channel} #{how} at #{gap.at.round(3)}, epochs #{gap.epochs.uniq.join(" and ")}"
  end

  def cuts
    @readers.all.flat_map do |reader|
      unexcused = reader.cuts.reject { |at,| @faults&.excuse?(at, at) }
      unexcused.map { |at, why| "#{reader}: was cut off or refused at #{at.round(3)}#{@faults&.during(at)}: #{why}" }
    end
  end

  def failures
    all = @publishers.failures + (@outsider ? @outsider.failures : [])
    all.reject { |failure| @faults&.excuse?(failure.since, failure.at) }.map do |failure|
      "a request failed at #{failure.at.round(3)}#{@faults&.during(failure.at)}: #{failure.why}"
    end
  end

  def epochs
    allowed = 1 + (@faults ? @faults.doubles : 0)
    @ledger.epochs.size > allowed ? ["there were #{@ledger.epochs.size} epochs, but at most #{allowed} are allowed"] : []
  end
end
