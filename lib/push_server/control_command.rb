# frozen_string_literal: true

require "json"
require "optparse"
require "push_server"
require_relative "config/command_line"
require_relative "config/configuration"
require_relative "plural"
require_relative "process/control_client"
require_relative "process/pidfile"
require_relative "process/socket_places"
require_relative "statistics_report"

module PushServer
  # The commands to a running server: push_server stop, and the like.
  class ControlCommand
    # What each command does, in one line of --help; what follows its name; and what its --help says besides.
    COMMANDS = {
      "stop" => ["Stop the server gracefully, and wait until it has stopped"],
      "restart" => ["Restart the server with new code and configuration, and wait until it serves"],
      "phased-restart" => ["Replace the workers by new ones with new code, while the server serves"],
      "reload" => ["Open log files anew"],
      "workers" => ["Start or stop workers", "+1|-1|N"],
      "drain" => ["Replace one worker, by its number", "WORKER"],
      "backtraces" => ["Log what all threads are doing"],
      "stats" => ["Print what the server has counted"],
      "status" => ["Print whether the server runs, and where it listens"]
    }.freeze
    # Options of the server that say where its socket is.
    PLACES = %i[config directory environment control_socket pidfile].freeze
    JSON_COMMANDS = %w[stats status].freeze
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    # Seconds that a process has to end when its server has stopped, and that a new version has to load after a restart.
    END_PATIENCE = 30
    RESTART_PATIENCE = 300
    POLL = 0.05
    FOOTER = <<~TEXT
      Exit status: 0 if it is done, 1 if it failed, 2 for a mistake in the command
      line, 3 if no server runs.
    TEXT
    private_constant :PLACES, :JSON_COMMANDS, :DONE, :FAILED, :USAGE, :NOT_RUNNING, :END_PATIENCE, :RESTART_PATIENCE, :POLL,
                     :FOOTER

    # Whether a command line is a command to a running server, and not a config.ru to serve. `./stop` is a file.
    # @param argv [Array<String>]
    def self.given?(argv) = COMMANDS.key?(argv.first)

    # Runs the command.
    # @return [Integer] the exit status: 0 if it is done, 1 if it failed, 2 for a mistake, 3 if no server runs
    def self.start(argv, out: $stdout, err: $stderr) = new(argv, out, err).start

    def initialize(argv, out, err)
      @name, *@words = argv
      @out = out
      @err = err
    end

    # See {ControlCommand.start}.
    def start
      read_words
      return help if @help

      send(@name.tr("-", "_"))
    rescue OptionError => e
      complain(e.message, USAGE)
    rescue ControlClient::NotRunning => e
      complain("#{e.message}. Start it, or name its socket with --control-socket", NOT_RUNNING)
    rescue Error => e
      complain(e.message, FAILED)
    end

    private

    # The switches of a command, and those options of the server that say where its socket is.
    def read_words
      words = @words.flat_map { |word| word.start_with?("--timeout=") ? word.split("=", 2) : [word] }
      @json = !words.delete("--json").nil?
      @help = !(words & %w[-h --help]).empty?
      return if @help

      index = words.index("--timeout")
      @timeout = seconds(words.slice!(index, 2)[1]) if index
      raise OptionError, "#{@name} prints no JSON, only stats and status do" if @json && !JSON_COMMANDS.include?(@name)

      # -1 is the argument of `workers`, and no switch.
      numbers, words = words.partition { |word| word.match?(/\A-\d+\z/) }
      line = CommandLine.new(words)
      other = line.given.keys.find { |name| !PLACES.include?(name) }
      refuse_option(Options::TABLE.fetch(other)) if other
      @given = line.given
      take_argument(numbers + line.files)
    end

    def refuse_option(option)
      raise OptionError, "#{@name} takes no option #{option.switches.last || option.name}: push_server #{@name} --help"
    end

    def take_argument(words)
      wanted = COMMANDS.fetch(@name)[1]
      raise OptionError, "#{@name} needs #{wanted}" if wanted && words.empty?
      raise OptionError, "#{@name} takes no #{words.last.inspect}" if words.size > (wanted ? 1 : 0)

      @argument = words.first
    end

    def seconds(text)
      Float(text.to_s, exception: false)&.then { |number| number if number.positive? } or
        raise OptionError, "--timeout needs a number of seconds, not #{text.inspect}"
    end

    def options = @options ||= Configuration.new(@given, quiet: true) { |option| option.switches.last }.options

    def client = @client ||= ControlClient.new(SocketPlaces.for(options))

    # Asks the server, and prints its progress.
    def ask(command = @name, **fields)
      answer = client.call(command, timeout: @timeout, **fields) { |progress| say(progress) }
      raise Error, answer[:error] unless answer[:ok]

      answer
    end

    def stop
      pid = ask[:pid]
      wait_for_end(pid)
    rescue ControlClient::NotRunning => e
      pid = Pidfile.new(options[:pidfile]).pid if options[:pidfile]
      raise e unless pid

      stop_by_signal(pid)
    rescue ControlClient::Ended
      # It was stopped at once, by another command or signal.
      say("Stopped")
      DONE
    end

    def stop_by_signal(pid)
      say("No server answers at the control socket. Sending TERM to process #{pid}, which #{options[:pidfile]} names")
      Process.kill(:TERM, pid)
      wait_for_end(pid, patience: @timeout)
    rescue Errno::EPERM
      raise Error, "process #{pid} belongs to another user"
    end

    # A process that embeds the server may go on.
    def wait_for_end(pid, patience: END_PATIENCE)
      deadline = patience && (now + patience)
      while Pidfile.alive?(pid)
        raise Error, "the server has stopped, but its process #{pid} goes on" if deadline && now > deadline

        sleep POLL
      end
      say("Stopped")
      DONE
    end

    # The connection ends when the process executes itself anew. Its socket stays, and answers when the new version serves.
    def restart
      before = ask("status")
      raise Error, "the server was stopped instead" unless ask_to_execute
      raise Error, "the server serves on with the old version: its log says why" if
        status_after_restart[:instance] == before[:instance]

      say("Restarted: push_server #{@after[:version]}, process #{@after[:pid]}")
      DONE
    end

    # @return [Boolean] whether the process executes itself anew. A supervisor ends the connection then
    def ask_to_execute
      ask[:executes]
    rescue ControlClient::Ended
      true
    end

    # What the new version says when its workers, too, have new code.
    def status_after_restart
      loop do
        @after = client.call("status", patience: RESTART_PATIENCE)
        break unless @after[:state] == "restarting"

        sleep POLL
      end
      raise Error, "push_server was restarted, but its workers were not: #{@after[:failure]}" if @after[:failure]

      @after
    rescue ControlClient::NotRunning
      raise Error, "the server has ended while it restarted: its log says why"
    end

    # The connection ends if the process executes itself anew meanwhile, which replaces the workers, too.
    def phased_restart
      begin
        ask
      rescue ControlClient::Ended
        status_after_restart
      end
      say("Restarted")
      DONE
    end

    def reload
      ask
      say("Reloaded")
      DONE
    end

    def workers
      raise OptionError, "workers needs +1, -1 or a number, not #{@argument.inspect}" unless @argument.match?(/\A[+-]?\d{1,4}\z/)

      answer = ask(change: @argument)
      say(Plural.of(answer[:workers], "worker"))
      DONE
    end

    def drain
      number = Integer(@argument, 10, exception: false) or raise OptionError, "drain needs a worker's number: push_server status"
      ask(worker: number)
      say("Worker #{number} drains, and another one takes its place")
      DONE
    end

    def backtraces
      threads = ask[:threads]
      say(threads ? "The backtraces of #{threads} threads are in the server's log" : "The backtraces are in the server's log")
      DONE
    end

    def stats
      answer = ask.except(:ok)
      return print_json(answer) if @json

      @out.puts(StatisticsReport.new(answer).lines)
      DONE
    end

    def status
      answer = ask.except(:ok)
      return print_json(answer) if @json

      processes = answer[:mode] == "single" ? "one process" : workers_of(answer)
      @out.puts("push_server #{answer[:version]}, process #{answer[:pid]}, #{answer[:state]}, #{processes}")
      Array(answer[:urls]).each { |url| @out.puts("  listening on #{url}") }
      Array(answer[:workers]).each { |worker| @out.puts("  #{describe(worker)}") }
      DONE
    end

    # During a restart there are others: that begin, or are to end.
    def workers_of(answer)
      Plural.of(answer[:workers].to_a.count { |worker| worker[:state] == "ready" }, "worker")
    end

    def describe(worker)
      "worker #{worker[:number]}: #{worker.except(:number).map { |name, value| "#{name} #{value}" }.join(", ")}"
    end

    def print_json(answer)
      @out.puts(JSON.pretty_generate(answer))
      DONE
    end

    def say(text)
      @out.puts(text)
      @out.flush
    end

    def complain(message, status)
      @err.puts("push_server #{@name}: #{message.scrub}")
      status
    end

    def help
      text, argument = COMMANDS.fetch(@name)
      layout = OptionParser.new(nil, 29, "  ")
      layout.banner = ["Usage: push_server #{@name}", argument, "[options]"].compact.join(" ")
      layout.separator("\n#{text}.\n\nOptions:")
      PLACES.each { |name| add(layout, Options::TABLE.fetch(name)) }
      layout.on("--timeout SECONDS", "How long to wait for the end [for ever]")
      layout.on("--json", "Print JSON") if JSON_COMMANDS.include?(@name)
      layout.on("-h", "--help", "Print this")
      layout.separator("\n#{FOOTER}")
      @out.puts(layout.help)
      DONE
    end

    def add(layout, option)
      *short, long = option.switches
      layout.on(*short, "#{long} #{option.metavar}", *option.doc.scan(/\S.{0,46}(?=\s(?!-)|\z)/))
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
