# frozen_string_literal: true

require "json"

# Required by apps under test. It prints events of their handlers as lines of JSON, which AppProcess reads, and runs code that a spec
# sends to stdin. The name of a client is the query string of its request.
module SpecApp
  @clients = {}
  @mutex = Mutex.new

  class << self
    # Reports an event. A line is a write(2) of less than PIPE_BUF bytes, so lines of several threads do not mix.
    def report(event, client = nil, **fields)
      fields[:id] = name(client) if client
      say("EVENT", { event: event }.merge(fields))
    end

    # Describes a String for JSON: its encoding, and its bytes as `dump` shows them.
    def picture(string)
      { encoding: string.encoding.name, valid: string.valid_encoding?, size: string.bytesize,
        bytes: string.bytesize > 512 ? nil : string.b.dump, sum: string.sum(32) }
    end

    def name(client) = client.env["QUERY_STRING"]

    # A client by name, after its on_open has reported it.
    def client(name) = @mutex.synchronize { @clients.fetch(name) }
    def clients = @mutex.synchronize { @clients.values }
    def remember(client) = @mutex.synchronize { @clients[name(client)] = client }

    # Runs the code that the spec sends, on its own threads.
    def run_orders
      Thread.new do
        $stdin.each_line do |line|
          order = JSON.parse(line, symbolize_names: true)
          # Each order has its own thread, so that one that waits does not delay the next.
          Thread.new { say("REPLY", carry_out(order).merge(order: order[:order])) }
        end
      end
    end

    private

    # `client` is a local variable in the code.
    def carry_out(order)
      scope = TOPLEVEL_BINDING.dup
      scope.local_variable_set(:client, order[:client] && client(order[:client]))
      { value: scope.eval(order[:code], "(spec)", 1) }
    rescue Exception => e # rubocop:disable Lint/RescueException
      { raised: e.class.name, message: e.message }
    end

    def say(kind, fields)
      $stdout.flush
      $stdout.syswrite("#{kind} #{JSON.generate(fields)}\n")
    end
  end

  # A handler that reports every callback. Its options open:, message: and so on are called after the report with the arguments of the
  # callback.
  class Recorder
    def initialize(label: nil, **actions)
      @label = label
      @actions = actions
    end

    def on_open(client)
      SpecApp.remember(client)
      note(:open, client)
      @actions[:open]&.call(client)
    end

    def on_message(client, data)
      note(:message, client, data: SpecApp.picture(data))
      @actions[:message]&.call(client, data)
    end

    def on_drained(client)
      note(:drained, client)
      @actions[:drained]&.call(client)
    end

    def on_shutdown(client)
      note(:shutdown, client)
      @actions[:shutdown]&.call(client)
    end

    def on_close(client, code, reason)
      note(:close, client, code: code, reason: reason)
      @actions[:close]&.call(client, code, reason)
    end

    private

    def note(event, client, **fields)
      fields[:handler] = @label if @label
      SpecApp.report(event, client, **fields)
    end
  end

  run_orders
end
