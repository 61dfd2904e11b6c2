# frozen_string_literal: true

require_relative "../serving"

module Faults
  # A server with a client in every state, which stays in it until `open_gate`. For specs of what a server does while all its
  # clients wait.
  class Population
    include Eventually

    # All threads are busy when each state that occupies one is reached.
    THREADS = STATES.count { |state| state.gate == :app_thread }

    # Timeouts are long, so that no state ends by itself.
    OPTIONS = ["--threads", THREADS, "--mailbox-messages", 2, "--head-timeout", 300, "--handshake-timeout", 300, "--body-timeout", 300,
               "--write-timeout", 300, "--slow-timeout", 300, "--close-timeout", 300, "--max-queued-bytes", "64MiB", *PUBLIC].freeze

    attr_reader :app

    def initialize
      @app = AppProcess.start(APP, *OPTIONS, files: FILES)
      @clients = []
      @connections = {}
      @occupying = 0
    end

    # Makes a client for each of these states. Returns State => RawConnection.
    def reach(states = STATES)
      states.to_h { |state| [state, @connections[state] = enter(state)] }.tap { settle }
    end

    # Lets all clients that `reach` has made do this.
    def inflict(fault)
      @connections.each_value(&CLIENT_FAULTS.fetch(fault))
      settle
    end

    # Waits until the reactor has read all that was sent before. It refuses this request after that, without a thread.
    def settle
      3.times do
        RawConnection.new(@app.address).write("GET / HTTP/9.9\r\n\r\n").tap(&:read_to_end).close
      end
    end

    # The number of connections that the server counts as open.
    def open_connections = @app.ask("PushServer.stats[:open_connections]")

    # See AppProcess.
    def descriptors
      settle
      @app.descriptors
    end

    # Whether as many requests as there are threads can be in the app at the same time.
    def all_workers_meet?
      clients = Array.new(THREADS) { connection.write(GET["/meet?#{THREADS}"]) }
      clients.all? { |client| client.read_until("met") }
    end

    # Tells the server to stop, and waits until it accepts no more connections.
    def begin_drain
      @app.signal("TERM")
      eventually("connections to be refused") do
        RawConnection.new(@app.address).close
        false
      rescue *RawConnection::REFUSED
        true
      end
    end

    def open_gate = @app.ask("GATE.open; nil")

    def close
      @clients.each { |client| client.close unless client.closed? }
      @clients.clear
      @connections.clear
    end

    # Kills the server if it still runs.
    def kill
      close
      @app.kill if @app.running?
    end

    private

    # With a small buffer, so that a client that does not read is noticed soon.
    def connection = RawConnection.new(@app.address, receive_buffer: 16_384).tap { |client| @clients << client }

    def at_gate = @app.ask("GATE.inside")

    def enter(state)
      occupy_threads if state.queued
      before = at_gate
      client = connection.write(state.enter)
      answer = read(client, state.entered)
      client.write(state.inside.call(answer)) if state.inside
      read(client, state.reached)
      eventually("the app to wait #{state.name}") { at_gate > before } if state.gate
      @occupying += 1 if state.gate == :app_thread
      client
    end

    def read(client, pattern)
      text = "".b
      text << client.read_available until pattern.nil? || pattern.match?(text)
      text
    end

    # Makes all threads wait at the gate.
    def occupy_threads
      in_app = STATES.find { |state| state.name == "in the app" }
      enter(in_app) while @occupying < THREADS
    end
  end
end
