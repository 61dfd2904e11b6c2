# frozen_string_literal: true

require "spec_helper"

# Connections to several workers: how they are shared, and what becomes of them when workers are replaced.
RSpec.describe "Connections to several workers", transport: :tcp do
  config = <<~'CONFIG'
    run ->(env) { [200, {}, ["#{Process.pid}"]] }
  CONFIG

  # The most of so many connections that one worker has, which are all made before the first request.
  def largest_share(count)
    clients = Array.new(count) { http }
    answers = clients.map { |client| client.get("/").body }
    answers.tally.values.max.fdiv(count)
  ensure
    close_clients
  end

  # On a busy machine, there are moments in which a worker does not run.
  def expect_even_shares(count)
    expect_eventually("each worker to have its share", seconds: 60) { Array.new(5) { largest_share(count) }.sort[2] <= 0.65 }
  end

  it "are shared evenly" do
    start_cluster(config)
    eventually("both workers to answer") { Array.new(10) { get("/").body }.uniq.size == 2 }
    close_clients
    expect_even_shares(200)
  end

  it "are shared evenly with a worker that takes the place of another one" do
    start_cluster(config)
    %w[KILL TERM].each do |signal|
      before = workers.fetch(2)
      Process.kill(signal, before)
      eventually("another worker 2, which serves", seconds: 20) do
        now = workers
        now.keys.sort == [1, 2] && now[2] != before && !alive?(before) && fetch.to_i == now[2]
      end
      expect_even_shares(100)
    end
  end

  # A client that keeps its connection, sends requests at random times, and connects anew when it is told to. Returns what went
  # wrong, and how many connections it has had.
  def random_client(random, over)
    connections = 0
    until over.call
      connections += 1
      client = HttpClient.new(app.address)
      loop do
        sleep(random.rand * 0.4)
        response = client.get("/")
        return ["status #{response.status}", connections] unless response.status == 200
        break if response["connection"] == "close" || over.call
      end
      client.close
    end
    [nil, connections]
  rescue SystemCallError, RawConnection::Ended, Deadline::Missed => e
    [e.message, connections]
  end

  it "lose no request of a client with a keep-alive connection when workers are replaced" do
    start_cluster(config)
    over = false
    clients = Array.new(20) { |seed| Thread.new { random_client(Random.new(seed), -> { over }) } }
    2.times do |round|
      app.signal("USR1")
      eventually("restart #{round + 1}", seconds: 60) { app.lines.grep(/the phased restart is done/).size > round }
    end
    over = true
    results = clients.map { |client| client.join(30)&.value }
    expect(results.filter_map(&:first)).to eq([])
    expect(results.sum(&:last)).to be > 20
  end
end
