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
    rescue SyntaxError => e
      raise ConfigError, syntax_error(e)
    rescue Exception => e # rubocop:disable Lint/RescueException -- the user must see where any exception comes from
      # If Rack's builder itself raises, the file lacks something, and no line of it is to blame.
      by_builder = e.backtrace&.first&.scrub&.match?(%r{/rack/builder\.rb:})
      raise ConfigError, "#{by_builder ? @path : place(e)}: #{one_line(ErrorReport.message(e), e)} (#{e.class})",
            cause: by_builder ? nil : e
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

    # Where it was raised: the first of the app's own lines.
    def place(error)
      frame = ErrorReport.new(error).own_frames.first
      frame ? ErrorReport.shorten(frame[/\A.*?:\d+/]) : @path
    end

    # "file:3: syntax error, unexpected …", from either of Ruby's parsers. From Ruby 3.2 on the detailed message begins with
    # an excerpt of the file, so it is not used here.
    def syntax_error(error)
      first, *rest = error.message.scrub.lines.map(&:strip).reject(&:empty?)
      # Prism's first line only says that there are errors; each follows under a row of carets.
      detail = rest.filter_map { |line| line[/\^~*\s+(.*)/, 1] }.first if first.match?(/errors? found\z/)
      at = first[/\A.*?:\d+/]
      "#{at ? ErrorReport.shorten(at) : @path}: #{one_line(detail || first.delete_prefix("#{at}:"), error)} (#{error.class})"
    end

    # The first line, without the class that Ruby 3.2 and newer add to it.
    def one_line(message, error)
      message.lines.map(&:strip).reject(&:empty?).first.to_s.delete_suffix(" (#{error.class})")
    end
  end
end
