# frozen_string_literal: true

require "optparse"
require "push_server"
require_relative "config/command_line"
require_relative "config/configuration"
require_relative "config/settings_report"
require_relative "control_command"
require_relative "process/failure_report"
require_relative "process/leader"
require_relative "process/own_process"
require_relative "process/role"
require_relative "process/supervisor"
require_relative "rack/rackup_file"

module PushServer
  # The command: push_server [options] [config.ru].
  class CLI
    FAILURE = 1
    # For a command line with a mistake.
    USAGE = 2
    # Columns of --help: how many there are, and where the second part of a line begins.
    WIDTH = 80
    INDENT = 32
    FOOTER = <<~TEXT
      In brackets: the environment variables that set the option, and its default. A
      size is in bytes or has a unit (64KiB, 1MiB). off switches a timeout off, where
      this is possible.
    TEXT
    private_constant :FAILURE, :USAGE, :WIDTH, :INDENT, :FOOTER

    # Runs the command.
    # @param argv [Array<String>]
    # @return [Integer] the exit status: 0 after a graceful stop, 1 after a failure, 2 for a command line with a
    #   mistake
    # @raise [SystemExit] with status 1 after a stop at once
    def self.start(argv, out: $stdout, err: $stderr)
      return ControlCommand.start(argv, out: out, err: err) if ControlCommand.given?(argv)

      # What the app prints is seen at once, also if stdout is no terminal.
      out.sync = true
      new(out, err).start(argv)
    end

    def initialize(out, err)
      @out = out
      @err = err
      @given = {}
    end

    # See {CLI.start}.
    def start(argv)
      # Before anything changes the environment, the folder, or the name of the process.
      OwnProcess.prepare
      @role = Role.current
      line = CommandLine.new(argv)
      return print_answer(line.question) if %i[version help].include?(line.question)

      @given = line.given
      # The process that has started this one has logged what has no effect.
      configuration = Configuration.new(@given, quiet: !@role.nil?) { |option| option.switches.last }
      # The file may have redirected them. Ruby would write what they hold before each fork, which fails on a full disk.
      [@out, @err].each { |io| io.sync = true }
      __send__(line.question || :serve, configuration, config_file(line))
    rescue OptionError => e
      fail_with(e, USAGE)
    rescue Error => e
      fail_with(e, FAILURE)
    rescue SignalException => e
      # INT, TERM or QUIT while the app is being loaded: there is nothing to drain.
      raise unless Signals::STOP.include?(e.signm.delete_prefix("SIG")) || e.is_a?(Interrupt)

      0
    end

    private

    def serve(configuration, path)
      options, hooks = configuration.options, configuration.hooks
      ENV["RACK_ENV"] = options[:environment]
      load = -> { RackupFile.new(path || configuration.rackup).load }
      return Supervisor.check(@role.link, options) if @role&.check? && options[:workers].positive?
      return Leader.new(@role.link, hooks, &load).run if @role&.name == "leader"
      return Worker.new(@role.link, hooks, &load).run if @role&.name == "worker"
      return Supervisor.new(options, hooks, out: @out, err: @err).run if options[:workers].positive?

      # The first clients are to find what the app publishes while it is loaded.
      Outside.serve_here
      server = Single.new(load.call, options, hooks: hooks, out: @out)
      server.run
      server.exit_unless_graceful
      0
    end

    # Loads all, and says what it found.
    def check(configuration, path)
      ENV["RACK_ENV"] = configuration.options[:environment]
      file = RackupFile.new(path || configuration.rackup)
      # What the app publishes while it is loaded is not for a server that runs.
      Outside.serve_here
      file.load
      Endpoint.all(configuration.options.binds, configuration.options).each(&:prepare)
      @out.puts(SettingsReport.new(configuration, file.path).lines)
      0
    end

    def print_answer(question)
      @out.puts(question == :version ? "push_server #{VERSION}" : help)
      0
    end

    # Tells one line, and below it the app's own lines of the backtrace; with --verbose the whole backtrace.
    def fail_with(error, status)
      report = FailureReport.new(error, verbose: @given[:log_level].to_s == "debug")
      if @role
        @role.link.send(:failed, **report.fields)
      else
        @err.puts("push_server: #{report.message}", *report.details)
      end
      status
    end

    # @return [String, nil] the config file
    def config_file(line)
      return line.files.first if line.files.size < 2

      raise OptionError, "one config file can be served, not #{line.files.size}: #{line.files.join(", ")}"
    end

    # The text of --help. OptionParser is used only for its layout.
    def help
      layout = OptionParser.new(nil, INDENT - 3, "  ")
      layout.banner = "Usage: push_server [options] [config.ru]\n       push_server COMMAND [options]"
      Options::TABLE.values.reject { |option| option.switches.empty? }.group_by(&:group).each do |group, options|
        layout.separator("\n#{group}:")
        options.each { |option| add(layout, option) }
        add_log_switches(layout) if group == "Running"
      end
      add_commands(layout)
      layout.separator("\nOther:")
      layout.on("--check", "Load configuration and app, print all settings", "with their sources, and exit")
      layout.on("--version", "Print the version")
      layout.on("-h", "--help", "Print this")
      layout.separator("\n#{FOOTER}")
      layout.help
    end

    def add(layout, option)
      *short, long = option.switches
      long = option.flag? ? "--[no-]#{long[2..]}" : "#{long} #{option.metavar}"
      layout.on(*short, long, *describe(option))
    end

    def add_commands(layout)
      layout.separator("\nCommands to a running server (push_server COMMAND --help):")
      ControlCommand::COMMANDS.each do |name, (text, argument)|
        words = text.scan(/\S.{0,#{WIDTH - INDENT - 1}}(?=\s|\z)/)
        layout.separator("  #{[name, argument].compact.join(" ").ljust(INDENT - 2)}#{words.join("\n#{" " * INDENT}")}")
      end
    end

    def add_log_switches(layout)
      layout.on("-v", "--verbose", "The same as --log-level debug")
      layout.on("-q", "--quiet", "The same as --log-level warn")
    end

    # The help of one option, in lines. RFC sections are for the documentation. No line begins with a dash, because
    # OptionParser would take it for a switch.
    def describe(option)
      default = [*option.env.map { |name| "$#{name}" }, option.default_text].compact.join(", ")
      text = option.doc.gsub(/ \(RFC [^)]*\)/, "")
      text += " [#{default}]" unless default.empty?
      text.scan(/\S.{0,#{WIDTH - INDENT - 1}}(?=\s(?!-)|\z)/)
    end
  end
end
