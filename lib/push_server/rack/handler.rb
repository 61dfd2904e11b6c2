# frozen_string_literal: true

require "push_server"

module PushServer
  # What `rackup -s push_server` calls, for Rackup 2 and for Rack 2.2: the handlers of both extend this module.
  module RackHandler
    # The options that rackup, `rails server` and Capybara add for themselves.
    FOREIGN = %i[
      AccessLog Silent Verbose DoNotReverseLookup app builder caching config daemonize debug early_hints eval heapfile
      include log_stdout pid profile_file profile_mode quiet require restart_cmd server user_supplied_options using warn
    ].freeze
    private_constant :FOREIGN

    # Runs the app until the server is stopped. In the main thread the server handles INT, TERM and QUIT meanwhile, and an
    # error, or a second signal, ends the process with one line and status 1. In another thread errors are raised.
    #
    # @param app [#call]
    # @param options [Hash] any option of the server, CamelCase or snake_case; Strings are converted
    # @yieldparam server [Single] to stop it: `stop`, from any thread or signal handler
    # @raise [Error]
    def run(app, **options)
      server = Single.new(app, RackHandler.options(options))
      yield server if block_given?
      server.run
      server.exit_unless_graceful if Thread.current == Thread.main
    rescue Error => e
      raise unless Thread.current == Thread.main

      abort "push_server: #{e.message}"
    end

    # What `rackup -s push_server --help` prints.
    # @return [Hash{String => String}]
    def valid_options
      Options::TABLE.values.to_h { |option| ["#{RackHandler.camel_case(option.name)}=#{option.metavar}", option.doc] }
    end

    # Turns what rackup passes into the server's options.
    # @return [Hash{Symbol => Object}]
    def self.options(given)
      own = given.reject { |key, value| FOREIGN.include?(key) && !chosen_access_log?(key, value) }
      own.each_with_object({}) do |(key, value), options|
        name = key.to_s.gsub(/(?<=[a-z\d])[A-Z]/, '_\0').downcase.to_sym
        if Options::TABLE.key?(name)
          options[name] = value
        else
          PushServer.log(:warn, "rackup option #{key} is ignored: there is no option #{name}#{Options.suggestion(name)}")
        end
      end
    end

    # rackup's own AccessLog, for WEBrick, is an Array; `-O AccessLog=json` gives a String.
    def self.chosen_access_log?(key, value) = key == :AccessLog && !value.is_a?(Array)
    private_class_method :chosen_access_log?

    # :max_message_size is MaxMessageSize.
    def self.camel_case(name) = name.to_s.split("_").map(&:capitalize).join
  end
end
