# frozen_string_literal: true

require "push_server"
require_relative "foreign_switches"

module PushServer
  # Reads a command line. The names of options must be complete: OptionParser would take `-w 2` for `--write-timeout 2`. Its
  # `require_exact` does not help: in Ruby 3.1 it refuses `--port=1` and fails at `--`.
  class CommandLine
    # Switches without a value.
    FLAGS = { "-v" => :verbose, "--verbose" => :verbose, "-q" => :quiet, "--quiet" => :quiet,
              "--version" => :version, "--check" => :check, "-h" => :help, "--help" => :help }.freeze
    LOG_LEVELS = { verbose: "debug", quiet: "warn" }.freeze
    # How many names to suggest at most.
    MAX_SUGGESTIONS = 3
    private_constant :FLAGS, :LOG_LEVELS, :MAX_SUGGESTIONS

    # @return [Hash{Symbol => String, Array<String>}] options by name, as {Options} takes them
    attr_reader :given
    # @return [Array<String>] the words that are not options
    attr_reader :files
    # @return [:version, :help, :check, nil] what to do instead of serving
    attr_reader :question

    # @param argv [Array<String>]
    # @raise [OptionError] for an unknown switch, or a missing value
    def initialize(argv)
      @options = Options::TABLE.values.flat_map { |row| row.switches.map { |switch| [switch, row] } }.to_h
      @negations = @options.values.select(&:flag?).to_h { |row| ["--no-#{row.switches.last[2..]}", row] }
      @given = {}
      @files = []
      # A path may have bytes that are not valid in the encoding. Patterns can be matched with them only if the String is
      # binary.
      @words = argv.map { |word| word.valid_encoding? ? word : word.b }
      while (word = @words.shift)
        read(word)
      end
    end

    private

    def read(word)
      case word
      when "--" then @files.concat(@words.slice!(0..))
      when /\A(--[^=]+)(?:=(.*))?\z/m then take($1, $2)
      when /\A-./m then read_short(word)
      else @files << word
      end
    end

    # Reads -p 1, -p1, and several flags at once, as in -vp1. Iodine's long switches have one dash, so -port 1 is refused: it
    # does not mean -p with the value "ort".
    def read_short(word)
      name = word[/\A[^=]*/]
      unknown(name) if name.size > 2 && (known?("-#{name}") || ForeignSwitches.include?(name))

      switch, rest = word[0, 2], word[2..]
      return take(switch, rest.empty? ? nil : rest) unless FLAGS.key?(switch)

      take(switch, nil)
      read_short("-#{rest}") unless rest.empty?
    end

    def take(switch, value)
      if FLAGS.key?(switch)
        raise OptionError, "#{switch} takes no value" if value

        apply_flag(FLAGS.fetch(switch))
      elsif (option = @options[switch] || @negations[switch])
        option.flag? ? turn(option, switch, value) : set(option, value || next_word(switch))
      else
        unknown(switch)
      end
    end

    def next_word(switch)
      @words.shift or raise OptionError, "#{switch} needs a value: push_server --help says which"
    end

    def turn(option, switch, value)
      raise OptionError, "#{switch} takes no value" if value

      @given[option.name] = @options.key?(switch)
    end

    def apply_flag(flag) = LOG_LEVELS.key?(flag) ? @given[:log_level] = LOG_LEVELS[flag] : @question ||= flag

    def set(option, value)
      return @given[option.name] = value unless option.list?

      (@given[option.name] ||= []) << value
    end

    def known?(switch) = @options.key?(switch) || FLAGS.key?(switch)

    def unknown(switch)
      advice = ForeignSwitches[switch]
      advice ||= (near = nearest(switch)) ? "did you mean #{near}?" : "push_server --help lists them all"
      raise OptionError, "there is no option #{switch}: #{advice}"
    end

    # The switch that the user may have meant: the same one in another spelling, the few that begin with it, or a similar
    # one.
    def nearest(switch)
      return if switch.size == 2 # one letter is similar to too many

      switches = (@options.keys + FLAGS.keys).grep(/\A--/)
      spelled = "--#{switch.sub(/\A--?/, "").tr("_", "-").downcase}"
      return spelled if switches.include?(spelled)

      begun = switches.select { |name| name.start_with?(spelled) }
      return begun.join(", ").sub(/, (?=[^,]*\z)/, " or ") if begun.size.between?(1, MAX_SUGGESTIONS)

      DidYouMean::SpellChecker.new(dictionary: switches).correct(spelled).first if defined?(DidYouMean)
    end
  end
end
