# frozen_string_literal: true

require "rack"
require "rack/builder"
require_relative "error_report"
require_relative "../errors"

module PushServer
  # A config.ru, or a .rb file that defines the constant of its name. Rack's own builder makes an app of it.
  class RackupFile
    # The line of rackup options that Rack 2 reads, with a warning, and that Rack 3 refuses.
    OPTIONS_LINE = /^#\\.*/
    private_constant :OPTIONS_LINE

    # @return [String]
    attr_reader :path

    # @param path [String, nil] a file, or a folder with a config.ru; nil: the current folder
    # @raise [ConfigError] if it does not exist
    def initialize(path = nil)
      @path = path || "config.ru"
      @path = File.join(@path, "config.ru") if File.directory?(@path)
      return if File.file?(@path)

      cure = path ? "name one that is there" : "name one (push_server PATH), or go to the folder it is in"
      raise ConfigError, "there is no #{path ? @path : "config.ru in #{Dir.pwd}"}: #{cure}"
    end

    # @return [#call] the app
    # @raise [ConfigError] if the file raises: one line with the place, the message and the class. Its cause is the
    #   exception
    def load
      app = build
      # Rack 2.2 returns the options as well.
      app = app.first if app.is_a?(Array)
      raise ConfigError, "#{@path}: what it runs has no method call: #{app.inspect[0, 60]}" unless app.respond_to?(:call)

      app
    rescue ConfigError, SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException -- the user must see where any exception comes from
      # If Rack's builder itself raises, the file lacks something, and no line of it is to blame.
      by_builder = !e.is_a?(SyntaxError) && e.backtrace&.first&.scrub&.match?(%r{/rack/builder\.rb:})
      raise ConfigError, ErrorReport.new(e).in_one_line(@path, search: !by_builder), cause: by_builder ? nil : e
    end

    private

    def build
      path = File.expand_path(@path)
      has_options = path.end_with?(".ru") && File.binread(path).delete_prefix("\uFEFF".b).match?(OPTIONS_LINE)
      return ::Rack::Builder.parse_file(path) unless has_options

      # What parse_file does, without the options; lines keep their numbers.
      source = File.read(path, encoding: "BOM|UTF-8").sub(OPTIONS_LINE, "#").sub(/^__END__\n.*\Z/m, "")
      ::Rack::Builder.new_from_string(source, path)
    end
  end
end
