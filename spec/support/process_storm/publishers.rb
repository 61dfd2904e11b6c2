# frozen_string_literal: true

require_relative "../http_client"

class ProcessStorm
  # Threads that publish by requests, each on its own keep-alive connection, so that they are in different workers.
  class Publishers
    # A request that was not answered with 200. since: when its connection has last worked.
    Failure = Struct.new(:since, :at, :why)
    # How a request publishes: the worker's thread looks at the cursors; it does not look; it leaves that to a thread which outlives
    # the request, and then the answer promises nothing.
    WAYS = %w[look quick later].freeze

    BROKEN = [RawConnection::Ended, Errno::EPIPE, Errno::ECONNRESET, Errno::ECONNREFUSED, Deadline::Missed].freeze
    private_constant :BROKEN

    attr_reader :failures, :requests

    # pause: seconds between the requests of a thread, on average. share: how many of the requests publish.
    def initialize(address, channels, random, ledger, threads:, pause: 0.1, share: 1)
      @address, @channels, @ledger, @pause, @share = address, channels, ledger, pause, share
      @randoms = Array.new(threads) { Random.new(random.rand(1 << 30)) }
      @failures = []
      @requests = 0
      @mutex = Mutex.new
    end

    def start
      @threads = @randoms.each_with_index.map do |random, index|
        Thread.new { publish(random, "p#{index}") }.tap { |thread| thread.report_on_exception = false }
      end
    end

    # Lets the requests end that are on their way.
    def stop
      @stopping = true
      @threads&.each(&:value)
    end

    def kill = @threads&.each(&:kill)

    # Publishes the ends of all channels.
    def publish_ends(number) = publish_alone(@channels.map { |channel| "#{channel} end #{number}" })

    # Publishes one message. Whether that works shows in `failures`.
    def publish_probe(number) = publish_alone(["#{@channels.first} probe #{number}"])

    # Each request of its own connection.
    def publish_alone(batch)
      client = connect
      post(client, "look", batch)
    rescue *BROKEN => e
      fail_with(ProcessStorm.now, e)
    ensure
      client&.close
    end

    private

    def publish(random, name)
      numbers = 0
      until @stopping
        client ||= connect
        worked ||= ProcessStorm.now
        count = random.rand(4).zero? ? random.rand(1..30) : 1
        count = 0 if random.rand >= @share
        batch = Array.new(count) { "#{@channels.sample(random: random)} #{name} #{numbers += 1}" }
        begin
          post(client, WAYS.sample(random: random), batch) ? worked = ProcessStorm.now : (client = drop(client))
        rescue *BROKEN => e
          fail_with(worked, e)
          client = worked = drop(client)
        end
        sleep(random.rand * 2 * @pause)
      end
    ensure
      client&.close
    end

    def drop(client)
      client.close
      nil
    end

    def connect = HttpClient.new(@address)

    # Returns whether the connection can be used again.
    def post(client, way, batch)
      @ledger.sent(batch)
      @mutex.synchronize { @requests += 1 }
      response = client.request("POST", "/publish?#{way}", body: batch.join("\n"))
      if response.status == 200
        @ledger.answered(batch, response.body.split("\n")) unless way == "later"
      else
        fail_with(ProcessStorm.now, "#{response.status} #{response.body[0, 200]}")
      end
      response["connection"] != "close"
    end

    def fail_with(since, error)
      why = error.is_a?(String) ? error : "#{error.class}: #{error.message}"
      @mutex.synchronize { @failures << Failure.new(since, ProcessStorm.now, why) }
    end
  end
end
