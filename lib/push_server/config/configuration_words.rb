# frozen_string_literal: true

require_relative "hooks"
require_relative "options"
require_relative "puma_words"

module PushServer
  # The object that `self` is in a configuration file. It has a method for each option, for each hook, and for each word of
  # Puma. Not thread-safe.
  class ConfigurationWords
    # Options that a file cannot set: it has been found already.
    WITHOUT = %i[config].freeze
    # Words with a method of their own below.
    SPECIAL = %i[port threads force_shutdown_after log_requests quiet debug].freeze
    private_constant :WITHOUT, :SPECIAL

    # @param file [ConfigurationFile]
    def initialize(file)
      @push_server_file = file
    end

    (Options::TABLE.keys - WITHOUT - SPECIAL).each do |name|
      # Sets the option; of a list, adds to it.
      define_method(name) { |*values| assign(Options::TABLE.fetch(name), values) }
    end

    [*Hooks::NAMES, *Hooks::ALIASES.keys].each do |name|
      # Registers the hook.
      define_method(name) { |key = nil, &block| @push_server_file.hook(name, key, block) }
    end

    PumaWords::RENAMED.except(*SPECIAL).each do |word, name|
      # Sets the option.
      define_method(word) { |*values| assign(Options::TABLE.fetch(name), values) }
    end

    PumaWords::IGNORED.each do |word, reason|
      # Logs that it has no effect.
      define_method(word) { |*, **, &_block| @push_server_file.warn("#{word} has no effect: #{reason}") }
    end

    PumaWords::REFUSED.each do |word, advice|
      # Raises an error that says what to do.
      define_method(word) { |*, **, &_block| @push_server_file.refuse("there is no #{word}: #{advice}") }
    end

    # The port, and the host to listen on.
    def port(number, host = nil)
      @push_server_file.set(:port, number)
      @push_server_file.set(:host, host) if host
    end

    # The number of threads. Of a range, the most counts, since the number does not change.
    def threads(*numbers)
      one_value(:threads, numbers.size > 2 ? numbers : numbers.last(1))
      @push_server_file.set(:threads, numbers.last)
    end

    # Whether to load the app before the workers are forked from it.
    def preload_app!(answer = true) = preload(answer) # rubocop:disable Style/OptionalBooleanParameter -- as Puma has it

    # An endpoint with TLS: `cert`, `key`, `ca` and `verify_mode`, as in its URL.
    def ssl_bind(host, port, options = {})
      query = options.compact.map { |key, value| "#{key}=#{value.to_s.b.gsub(/[%&,\s]/n) { |byte| format("%%%02X", byte.ord) }}" }
      bind("ssl://#{host.count(":") > 1 && !host.start_with?("[") ? "[#{host}]" : host}:#{port}?#{query.join("&")}")
    end

    # The config.ru.
    def rackup(path) = @push_server_file.rackup = path.to_s

    # Evaluates another configuration file; its path is relative to the current folder, or to this file.
    def load(path, *) = @push_server_file.read(path.to_s)

    # What the file has set above.
    def get(name, default = nil) = @push_server_file.settings[name.to_sym]&.value || default

    # Evaluates a block with the words.
    def inject(&block) = instance_eval(&block)
    # Forgets the places to listen that the file has named so far.
    def clear_binds! = @push_server_file.unset(:bind)
    # Switches the warning about hooks off that do not run without workers.
    def silence_fork_callback_warning = @push_server_file.silence_hooks

    # Sockets that systemd passes are served anyway, unless bind names others.
    def bind_to_activated_sockets(which = true) # rubocop:disable Style/OptionalBooleanParameter -- as Puma has it
      clear_binds! if which.to_s == "only"
    end

    # Puma's plugins do not exist here; some are not needed.
    def plugin(name)
      advice = PumaWords::PLUGINS[name.to_sym]
      return @push_server_file.warn("the plugin #{name} has no effect: #{advice}") if advice

      @push_server_file.refuse("there is no plugin #{name}: push_server has no plugins. Start what it does as a process of " \
                               "its own, or in a hook such as after_booted")
    end

    # Time for requests to end.
    def force_shutdown_after(seconds = :forever)
      assign(Options::TABLE.fetch(:drain_timeout), [{ forever: 1 << 31, immediately: 0 }.fetch(seconds, seconds)])
    end

    # Whether requests are logged.
    def log_requests(answer = true) = access_log(answer ? :combined : :off) # rubocop:disable Style/OptionalBooleanParameter
    # Only warnings and errors are logged.
    def quiet(answer = true) = (log_level(:warn) if answer) # rubocop:disable Style/OptionalBooleanParameter
    # All is logged.
    def debug = log_level(:debug)

    # Names this object in errors, in place of its class and its address.
    def inspect = "the configuration file"

    private

    def assign(option, values)
      return @push_server_file.add(option.name, values.flatten(1)) if option.list?

      values = [true] if values.empty? && option.flag?
      @push_server_file.set(option.name, one_value(option.name, values))
    end

    def one_value(name, values)
      return values.first if values.size == 1

      @push_server_file.refuse(values.empty? ? "#{name} needs a value" : "#{name} takes one value, not #{values.size}")
    end

    def method_missing(word, *, **)
      @push_server_file.refuse("there is no word #{word}#{suggestion(word)}")
    end

    def respond_to_missing?(*) = super # rubocop:disable Lint/UselessMethodDefinition -- beside method_missing

    def suggestion(word)
      return ": the command line names the file" if WITHOUT.include?(word)

      advice = Unsupported::SETTINGS[word]
      return ": #{advice}" if advice
      return "" unless defined?(DidYouMean)

      words = Options::TABLE.keys - WITHOUT + Hooks::NAMES + Hooks::ALIASES.keys + PumaWords::ALL
      nearest = DidYouMean::SpellChecker.new(dictionary: words).correct(word).first
      nearest ? ": did you mean #{nearest}?" : ": docs/options.md and docs/configuration.md list them all"
    end
  end
end
