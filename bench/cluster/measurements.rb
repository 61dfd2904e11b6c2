# frozen_string_literal: true

require_relative "server"

# The measurements of bench/cluster.rb.
module Cluster
  MESSAGES = 2000
  CLIENTS = 1000
  # Keep-alive connections of a worker, and how often each asks.
  CONNECTIONS = 32
  WAVES = 3000
  MEBIBYTE = 1_048_576.0
  private_constant :MESSAGES, :CLIENTS, :CONNECTIONS, :WAVES, :MEBIBYTE

  module_function

  def burst(rounds)
    report("burst, messages a second", rounds.times.map { Server.run(2) { |server| burst_at(server, 10) } })
  end

  def burst_at(server, seconds)
    publisher, reader = server.connect_to_each.values
    reader.subscribe
    received = Thread.new { count_events(reader.socket) }
    begin_at = now
    count = Integer(publisher.get("/burst?#{seconds}"))
    rate = count / (now - begin_at)
    received[:wanted] = count
    received.join(60) or raise "the reader has not got all #{count} messages"
    rate
  end

  # Counts events until the number is reached that another thread puts into :wanted.
  def count_events(socket)
    count = 0
    tail = "".b
    until count == Thread.current[:wanted]
      next unless socket.wait_readable(0.1)

      chunk = tail + socket.readpartial(1 << 20)
      count += chunk.scan("\n\n").size
      tail = chunk.end_with?("\n\n") ? "".b : chunk[-1]
    end
  end

  def latency(rounds)
    figures = rounds.times.map { [Server.run(2) { |server| latencies(server) }, ping_pong] }
    [0.5, 0.99].each do |part|
      us, bare = figures.transpose.map { |lists| lists.map { |list| list.sort[list.size * part] / 1000.0 } }
      report("latency, us, quantile #{part}", us)
      report("bare ping-pong, us, quantile #{part}", bare)
    end
  end

  # ns from publish at one worker to a client at another.
  def latencies(server)
    publisher, reader = server.connect_to_each.values
    reader.subscribe
    all = Array.new(MESSAGES) do
      publisher.socket.write("GET /publish HTTP/1.1\r\nhost: localhost\r\n\r\n")
      took = -Integer(reader.event) + now(:nanosecond)
      reader.socket.gets
      publisher.socket.gets("\r\n\r\n")
      publisher.socket.read(2)
      took
    end
    all.drop(MESSAGES / 10)
  end

  # ns of a byte to another process and back.
  def ping_pong
    near, far = UNIXSocket.pair
    child = fork do
      near.close
      while (byte = far.recv(1)) && !byte.empty?
        far.write(byte)
      end
      exit!(0)
    end
    far.close
    all = Array.new(MESSAGES) do
      begin_at = now(:nanosecond)
      near.write("x")
      near.recv(1)
      now(:nanosecond) - begin_at
    end
    all.drop(MESSAGES / 10)
  ensure
    near.close
    Process.wait(child)
  end

  # Each worker has as many connections as a single process: a batch of requests costs less than as many one by one.
  def requests(rounds)
    pairs = rounds.times.map { [0, 2].map { |workers| Server.run(workers) { |server| cpu_of_requests(server) } } }
    single, cluster = pairs.transpose
    report("requests, CPU us each, one process", single)
    report("requests, CPU us each, two workers", cluster)
    report("requests, ratio", pairs.map { |one, two| two / one })
  end

  # CPU time of all processes for a request, in us.
  def cpu_of_requests(server)
    clients = server.spread(CONNECTIONS * server.workers)
    before = server.cpu.values.sum
    WAVES.times do
      clients.each(&:ask)
      clients.each(&:answer)
    end
    (server.cpu.values.sum - before) * 1_000_000 / (WAVES * clients.size)
  end

  def fan_out(rounds)
    pairs = rounds.times.map { [0, 2].map { |workers| Server.run(workers) { |server| fan_out_at(server) } } }
    single, cluster = pairs.transpose
    report("fan-out, CPU s, one process", single.map { |cpu| cpu.values.sum })
    hub = ->(cpu) { cpu.filter_map { |title, time| time if title.include?("hub") }.sum }
    report("fan-out, CPU s, two workers without the hub", cluster.map { |cpu| cpu.values.sum - hub[cpu] })
    report("fan-out, CPU s, the hub", cluster.map(&hub))
    report("fan-out, ratio without the hub",
           pairs.map { |one, two| (two.values.sum - hub[two]) / one.values.sum })
  end

  # CPU time of each process over 10 s.
  def fan_out_at(server)
    clients = server.spread(CLIENTS).each(&:subscribe)
    reader = Thread.new { drain(clients.map(&:socket)) }
    publisher = server.connect
    before = server.cpu
    begin_at = now
    300.times do |number|
      sleep([begin_at + (number / 30.0) - now, 0].max)
      publisher.get("/publish")
    end
    server.cpu.to_h { |title, time| [title, time - before.fetch(title, 0)] }
  ensure
    reader&.kill
  end

  def drain(sockets)
    loop { IO.select(sockets).first.each { |socket| socket.read_nonblock(1 << 16, exception: false) } }
  rescue IOError, SystemCallError
    nil
  end

  def polls(rounds)
    pairs = rounds.times.map { Server.run(2) { |server| poll_times(server) } }
    [0.5, 0.99].each do |part|
      here, elsewhere = pairs.transpose.map { |lists| lists.map { |list| list.sort[list.size * part] / 1000.0 } }
      report("polls at the session's worker, us, quantile #{part}", here)
      report("polls at another worker, us, quantile #{part}", elsewhere)
      report("what the relay adds, us, quantile #{part}", elsewhere.zip(here).map { |far, near| far - near })
    end
  end

  # ns of polls at the worker of their session, and at another one.
  def poll_times(server)
    connections = server.connect_to_each.values
    sessions = Array.new(CLIENTS) { |number| [connections[number % 2].poll, number % 2] }
    times = [[], []]
    # The first polls bring what on_open has to say.
    [0, 0, 1].each do |distance|
      sessions.map! do |id, home|
        connection = connections[(home + distance) % 2]
        begin_at = now(:nanosecond)
        id = connection.poll(id)
        times[distance] << (now(:nanosecond) - begin_at)
        [id, home]
      end
    end
    [times.first.drop(CLIENTS), times.last]
  end

  def balance(rounds)
    shares = rounds.times.map do
      Server.run(2) do |server|
        # Until then a worker may still be starting.
        server.connect_to_each.each_value(&:close)
        # All connect first, and ask then: a worker's answer must not decide which worker accepts next.
        clients = Array.new(200) { server.connect }
        clients.map(&:worker).tally.values.max / 2.0
      end
    end
    report("balance, percent of 200 connections at one worker", shares)
  end

  def memory(rounds)
    report("the hub's private memory, MiB",
           rounds.times.map { Server.run(2) { |server| Server.private_memory(server.hub) / MEBIBYTE } })
  end

  def report(what, figures)
    sorted = figures.sort
    puts format("%-50<what>s median %10.2<median>f   (%<all>s)", what: what, median: sorted[sorted.size / 2],
                                                                  all: figures.map { |figure| format("%.2f", figure) }.join(" "))
  end

  def now(unit = :float_second) = Process.clock_gettime(Process::CLOCK_MONOTONIC, unit)

  # Name => what measures and reports it, given the number of rounds.
  MEASUREMENTS = %i[burst latency requests fan_out polls balance memory].to_h { |name| [name.to_s, method(name)] }.freeze
end
