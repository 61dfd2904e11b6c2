# frozen_string_literal: true

require_relative "../deadline"
require_relative "../eventually"
require_relative "../http_client"
require_relative "../process_cost"
require_relative "visitor"

module Faults
  # One round: clients get into states of a connection, faults happen to the server and the clients, and then every client
  # must get its answer or see the end. `random` chooses everything, so that a seed repeats the round.
  class Round
    include Eventually

    CLIENTS = 2 * Visitor::STATES.size
    THREADS = 3
    # The share of a CPU that a process may use while all its clients wait. A process that spins uses as much as it gets.
    MOST_CPU = 0.5

    # Faults of the server while clients wait: code that runs in its process. ENDING undoes them.
    SERVER_FAULTS = {
      "kill of a thread" => "APP_THREADS.call.sample&.kill",
      "kill of all threads" => "APP_THREADS.call.each(&:kill)",
      "raise into a thread" => "APP_THREADS.call.sample&.raise(IOError, 'raised from outside')",
      "compaction" => "GC.start; GC.compact",
      "no threads" => "$no_threads = true; APP_THREADS.call.sample&.kill",
      "no descriptors" => "Process.setrlimit(:NOFILE, Dir.children('/dev/fd').size, Process.getrlimit(:NOFILE).last)",
      "a full disk" => "Process.setrlimit(:FSIZE, 4096, Process.getrlimit(:FSIZE).last)",
      "a stopped clock" => :stop_and_go,
      "nothing" => "nil"
    }.freeze
    BEGINNING = "APP_THREADS = -> { Thread.list.select { |thread| thread.name.to_s.start_with?('push_server thread') } } " \
                "unless defined?(APP_THREADS)"
    ENDING = <<~'RUBY'
      $no_threads = false
      Process.setrlimit(:NOFILE, Process.getrlimit(:NOFILE).last)
      Process.setrlimit(:FSIZE, Process.getrlimit(:FSIZE).last)
      GC.stress = false
      GATE.open
    RUBY
    # What requests and messages do to their thread.
    DEEDS = %w[raise exception throw exit thread-exit kill deep kill-while-logged raise-while-logged collect].freeze

    # Moves every object that may move. The name of the second option depends on Ruby's version.
    VERIFY = <<~'RUBY'
      GC.stress = false
      growth = GC.method(:verify_compaction_references).parameters.map(&:last) & %i[expand_heap double_heap]
      GC.verify_compaction_references(toward: :empty, growth.first => true)
      GC.stress = 1
    RUBY
    # Ruby itself crashes when a stack overflows while a compaction is verified.
    STRESSED_DEEDS = (DEEDS - %w[deep]).freeze

    # @param stress [Boolean] a collection at each allocation of a young object (at each of all it takes hours), a
    #   compaction that is verified, and fewer clients, since all takes long
    def initialize(app, random, stress: false)
      @app, @random, @stress = app, random, stress
      @patience = stress ? 8 * Deadline::PATIENCE : Deadline::PATIENCE
      @deeds = stress ? STRESSED_DEEDS : DEEDS
      @faults = stress ? ["compaction", *SERVER_FAULTS.keys.sample(1, random: random)] : SERVER_FAULTS.keys.sample(2, random: random)
      states = Visitor::STATES.cycle.first(stress ? Visitor::STATES.size : CLIENTS)
      @plan = states.map { |state| [state, Visitor::FAULTS.sample(random: random)] }.shuffle(random: random)
    end

    # The faults, for the message of a failure.
    def to_s = @faults.join(" and ")

    # Returns a line for each thing that went wrong.
    def run
      ask("#{BEGINNING}; $met = 0; GATE.shut; GC.stress = #{@stress ? 1 : false}")
      visitors = enter
      misdeeds = Array.new(8) { |index| Thread.new { misbehave(index) } }
      @faults.each { |fault| inflict(SERVER_FAULTS.fetch(fault)) }
      visitors.each(&:commit_fault)
      busy = ProcessCost.cpu_share(@app.pid)
      finish
      wrong = visitors.map { |visitor| Thread.new { visitor.conclude } }.filter_map(&:value) + misdeeds.filter_map(&:value)
      wrong << "#{(busy * 100).round} % of a CPU while all waited" if busy > MOST_CPU && !@stress
      wrong.concat(roll_call).map { |line| "#{self}: #{line}" }
    end

    private

    def ask(code) = @app.ask(code, seconds: @patience)

    # Clients that get a response before they are in their state enter first: the others may occupy all threads.
    def enter
      visitors = @plan.map { |state, fault| Visitor.new(@app.address, state, fault, @patience) }
      soon, later = visitors.partition { |visitor| visitor.state.entered_soon? }
      soon.each(&:enter)
      soon.each(&:go_inside)
      later.each(&:enter)
      visitors
    end

    def inflict(fault)
      fault = VERIFY if @stress && fault == SERVER_FAULTS["compaction"]
      return ask(fault) unless fault == :stop_and_go

      # Longer than the server's timeouts.
      @app.signal("STOP")
      sleep 1.5
      @app.signal("CONT")
    end

    # Makes the app, a body or a callback fail. The client must get an answer, or its connection must end.
    def misbehave(index)
      connection = RawConnection.new(@app.address)
      deed = @deeds.rotate(@random.seed + index).first
      if (path = %w[fault each call][index % 4])
        connection.write("GET /#{path}?#{deed} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        connection.ending(seconds: @patience)
      else
        misbehave_in_callback(connection, deed)
      end
      nil
    rescue RawConnection::Ended
      nil
    rescue Deadline::Missed
      "#{path || "a callback"} that does #{deed} is neither answered nor ended"
    ensure
      connection&.close
    end

    def misbehave_in_callback(connection, deed)
      connection.write("GET /push HTTP/1.1\r\n#{WEBSOCKET}")
      connection.read_until("open", seconds: @patience)
      connection.write(WebSocketFrame.encode(:text, deed))
      # A thread that was killed writes no answer, and the connection stays open.
      text = "".b
      text << connection.read_available(seconds: @patience) until text.match?(/answer to|tick/)
    end

    def finish
      ask(ENDING)
      # Clients in a callback, and those that open later, wait for such a message. So it is sent again and again.
      ask("Thread.new { 200.times { PushServer.publish('faults', 'tick'); sleep 0.05 } }; nil")
    end

    # Checks that all threads are there: as many requests meet in the app. If threads could not be made, it takes a while until
    # the server tries again, and until then it may have no thread at all.
    def roll_call
      eventually("a thread to be there", seconds: @patience) { served? }
      clients = Array.new(THREADS) { HttpClient.new(@app.address).tap { |client| client.send_request("GET", "/meet?#{THREADS}") } }
      answers = clients.map { |client| client.read_response.body }
      answers == ["met"] * THREADS ? [] : ["threads answered #{answers}"]
    rescue Deadline::Missed, RawConnection::Ended => e
      ["not all threads are there: #{e.message}"]
    ensure
      clients&.each(&:close)
    end

    def served?
      client = HttpClient.new(@app.address)
      client.get("/hello").status == 200
    ensure
      client&.close
    end
  end
end
