# frozen_string_literal: true

require "rbconfig"

module PushServer
  # Describes an exception that the app raised while it was loaded. By default it shows only the app's own lines of the
  # backtrace, because the lines of gems, of Ruby and of this library would hide them.
  class ErrorReport
    # How many of the app's own lines to show at most: an endless recursion has ten thousand.
    MOST = 12
    CAUSES = 5
    # Folders with files that are not the app's: installed gems, Ruby's libraries, this library, the commands of gems.
    FOREIGN = [
      *Gem.path, Gem.bindir, *RbConfig::CONFIG.values_at("rubylibdir", "sitedir", "vendordir"),
      File.expand_path("../..", __dir__), File.expand_path("../../../exe", __dir__)
    ].compact.flat_map { |folder| [folder, File.exist?(folder) ? File.realpath(folder) : folder] }.uniq
     .map { |folder| File.join(folder, "") }.freeze
    # The lines of the backtrace from these files on are not the app's.
    LOADED_BY = %w[rackup_file.rb ../config/configuration_file.rb].map { |file| File.expand_path(file, __dir__) }.freeze
    private_constant :MOST, :CAUSES, :FOREIGN, :LOADED_BY

    # The message of an exception, even if its method `message` raises.
    # @return [String]
    def self.message(error)
      (error.respond_to?(:detailed_message) ? error.detailed_message(highlight: false) : error.message).to_s.scrub
    rescue StandardError => e
      "(its message raises #{e.class})"
    end

    # The first line of the message, and the class: "no such table (RuntimeError)".
    # @return [String]
    def self.summary(error) = "#{first_line(message(error), error.class)} (#{error.class})"

    # The first line of a message that says something, without the class that Ruby 3.2 and newer add to it.
    # @param type [Class] of the exception
    # @return [String]
    def self.first_line(message, type)
      message.lines.map(&:strip).reject(&:empty?).first.to_s.delete_suffix("(#{type})").rstrip
    end

    # A path, relative to the current folder if it is in that.
    def self.shorten(path) = path.delete_prefix(File.join(Dir.pwd, ""))

    # Whether a line of a backtrace is the app's own.
    def self.own?(line) = !line.start_with?("<internal:", "(eval", *FOREIGN)

    def initialize(error)
      @error = error
    end

    # The place, the message and the class, such as "config.ru:3: undefined method … (NoMethodError)".
    # @param path [String] the file that was being loaded: the place, if the backtrace has none of the app's lines
    # @param search [Boolean] whether to look for the place in the backtrace
    # @return [String]
    def in_one_line(path, search: true)
      path = ErrorReport.shorten(path)
      return syntax_error(path) if @error.is_a?(SyntaxError)

      frame = own_frames.first if search
      "#{frame ? ErrorReport.shorten(frame[/\A.*?:\d+/]) : path}: #{ErrorReport.summary(@error)}"
    end

    # What to print below the first line of the message: the rest of the message, the app's own lines of the backtrace (or
    # the first line, if it has none of the app), and the same for the causes.
    # @return [Array<String>] indented lines
    def brief
      causes = [@error]
      causes << causes.last.cause while causes.last.cause && causes.size < CAUSES
      causes.flat_map.with_index do |error, index|
        first, *rest = ErrorReport.message(error).lines.map(&:chomp)
        heading = index.zero? ? [] : ["caused by #{error.class}: #{ErrorReport.first_line(first.to_s, error.class)}"]
        [*heading, *rest.reject(&:empty?).map { |line| "  #{line}" }, *frames(error)]
      end.map { |line| "    #{line}" }
    end

    # The lines of the backtrace that are the app's own, down to where it was loaded.
    # @return [Array<String>]
    def own_frames(error = @error)
      (error.backtrace || []).take_while { |line| !line.start_with?(*LOADED_BY) }
                             .select { |line| ErrorReport.own?(line) }.map(&:scrub)
    end

    # The message and the whole backtrace, as Ruby prints them.
    # @return [String]
    def full
      @error.full_message(highlight: false, order: :top)
    rescue StandardError
      ["#{@error.class}: #{ErrorReport.message(@error)}", *@error.backtrace].join("\n    ")
    end

    private

    # "file:3: syntax error, unexpected …", from either of Ruby's parsers. From Ruby 3.2 on the detailed message begins with
    # an excerpt of the file, so it is not used here.
    def syntax_error(path)
      first, *rest = @error.message.scrub.lines.map(&:strip).reject(&:empty?)
      # Prism's first line only says that there are errors; each follows under a row of carets.
      detail = rest.filter_map { |line| line[/\^~*\s+(.*)/, 1] }.first if first.match?(/errors? found\z/)
      at = first[/\A.*?:\d+/]
      message = ErrorReport.first_line(detail || first.delete_prefix("#{at}:"), @error.class)
      "#{at ? ErrorReport.shorten(at) : path}: #{message} (#{@error.class})"
    end

    def frames(error)
      own = own_frames(error)
      own = error.backtrace&.take(1) || [] if own.empty?
      shown = own.take(MOST).map { |line| "from #{ErrorReport.shorten(line)}" }
      own.size > MOST ? [*shown, "… and #{own.size - MOST} more (-v shows all)"] : shown
    end
  end
end
