# frozen_string_literal: true

require "optparse"
require "push_server"
require_relative "config_file"

module PushServer
  # The command: push_server [options] [config.ru].
  class CLI
    FAILURE = 1
    # A command line that cannot be understood.
    USAGE = 2
    # Of --help: the widest line, and where its second column begins.
    WIDTH = 80
    INDENT = 32
    FOOTER = <<~TEXT
      In brackets: the environment variables that set it, and the default. A size is
      in bytes or with a unit (64KiB, 1MiB); a timeout that may be switched off takes
      off.
    TEXT
    private_constant :FAILURE, :USAGE, :WIDTH, :INDENT, :FOOTER

    # Runs the command.
    # @param argv [Array<String>]
    # @return [Integer] the exit status: 0 after a graceful stop, 1 after a failure, 2 for a command line it does not
    #   understand
    # @raise [SystemExit] with status 1 after a stop at once
    def self.start(argv, out: $stdout, err: $stderr) = new(out, err).start(argv)

    def initialize(out, err)
      @out = out
      @err = err
      @given = {}
    end

    # See {CLI.start}.
    def start(argv)
      path = parse(argv)
      return tell if @tell

      serve(path)
    rescue OptionParser::ParseError => e
      fail_with(e, USAGE, misunderstood(e))
    rescue OptionError => e
      fail_with(e, USAGE)
    rescue Error => e
      fail_with(e, FAILURE)
    rescue SignalException => e
      # INT or TERM while the app is being loaded: nothing has been served, so nothing is left to finish.
      raise unless Signals::STOP.include?(e.signm.delete_prefix("SIG")) || e.is_a?(Interrupt)

      0
    end

    private

    def serve(path)
      options = Options.new(@given) { |option| option.switches.last }
      ENV["RACK_ENV"] = options[:environment]
      launcher = Launcher.new(ConfigFile.new(path).load, options, out: @out)
      launcher.run
      launcher.exit_unless_graceful
      0
    end

    def tell
      @out.puts(@tell)
      0
    end

    # One line; the backtrace is for those who look for it.
    def fail_with(error, status, message = error.message)
      @err.puts("push_server: #{message.split("\n").map(&:strip).join(" ")}")
      @err.puts((error.cause || error).full_message(highlight: false)) if @given[:log_level].to_s == "debug"
      status
    end

    # What is wrong with a command line, in our words.
    def misunderstood(error)
      switch = error.args.first
      case error
      when OptionParser::InvalidOption
        # OptionParser's own suggestions lack the dashes.
        nearest = error.message[/Did you mean\?\s+(\S+)/, 1]
        "there is no option #{switch}: #{nearest ? "did you mean --#{nearest}?" : "push_server --help lists them all"}"
      when OptionParser::MissingArgument then "#{switch} needs a value: push_server --help says which"
      when OptionParser::AmbiguousOption then "#{switch} could be several options: write it out"
      else "#{switch} takes no value"
      end
    end

    # @return [String, nil] the config file
    def parse(argv)
      rest = parser.permute(argv)
      raise OptionError, "one config file can be served, not #{rest.size}: #{rest.join(", ")}" if rest.size > 1

      rest.first
    end

    def parser
      OptionParser.new(nil, INDENT - 3, "  ") do |parser|
        parser.banner = "Usage: push_server [options] [config.ru]"
        Options::TABLE.values.group_by(&:group).each do |group, options|
          options = options.reject { |option| option.switches.empty? }
          next if options.empty?

          parser.separator("\n#{group}:")
          options.each { |option| add(parser, option) }
          add_log_switches(parser) if group == "Running"
        end
        parser.separator("\nOther:")
        parser.on("--version", "Print the version") { @tell = "push_server #{VERSION}" }
        parser.on("-h", "--help", "Print this") { @tell = parser.help }
        parser.separator("\n#{FOOTER}")
      end
    end

    def add(parser, option)
      *short, long = option.switches
      parser.on(*short, "#{long} #{option.metavar}", *describe(option)) do |value|
        if %i[binds list].include?(option.type)
          (@given[option.name] ||= []) << value
        else
          @given[option.name] = value
        end
      end
    end

    def add_log_switches(parser)
      parser.on("-v", "--verbose", "The same as --log-level debug") { @given[:log_level] = "debug" }
      parser.on("-q", "--quiet", "The same as --log-level warn") { @given[:log_level] = "warn" }
    end

    # The help of one option, in lines. RFC sections are for the documentation.
    def describe(option)
      default = [*option.env.map { |name| "$#{name}" }, option.default_text].compact.join(", ")
      text = option.doc.gsub(/ \(RFC [^)]*\)/, "")
      text += " [#{default}]" unless default.empty?
      text.scan(/\S.{0,#{WIDTH - INDENT - 1}}(?=\s|\z)/)
    end
  end
end
