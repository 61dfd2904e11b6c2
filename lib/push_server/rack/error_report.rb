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
    # The lines of the backtrace from this file on are not the app's.
    LOADED_BY = File.expand_path("rackup_file.rb", __dir__)
    private_constant :MOST, :CAUSES, :FOREIGN, :LOADED_BY

    # The message of an exception, even if its method `message` raises.
    # @return [String]
    def self.message(error)
      (error.respond_to?(:detailed_message) ? error.detailed_message(highlight: false) : error.message).to_s.scrub
    rescue StandardError => e
      "(its message raises #{e.class})"
    end

    # A path, relative to the current folder if it is in that.
    def self.shorten(path) = path.delete_prefix(File.join(Dir.pwd, ""))

    def initialize(error)
      @error = error
    end

    # What to print below the first line of the message: the rest of the message, the app's own lines of the backtrace (or
    # the first line, if it has none of the app), and the same for the causes.
    # @return [Array<String>] indented lines
    def brief
      causes = [@error]
      causes << causes.last.cause while causes.last.cause && causes.size < CAUSES
      causes.flat_map.with_index do |error, index|
        first, *rest = ErrorReport.message(error).lines.map(&:chomp)
        heading = index.zero? ? [] : ["caused by #{error.class}: #{first}"]
        [*heading, *rest.reject(&:empty?).map { |line| "  #{line}" }, *frames(error)]
      end.map { |line| "    #{line}" }
    end

    # The lines of the backtrace that are the app's own, down to where it was loaded.
    # @return [Array<String>]
    def own_frames(error = @error)
      (error.backtrace || []).take_while { |line| !line.start_with?(LOADED_BY) }
                             .reject { |line| line.start_with?("<internal:", "(eval", *FOREIGN) }.map(&:scrub)
    end

    # The message and the whole backtrace, as Ruby prints them.
    # @return [String]
    def full
      @error.full_message(highlight: false, order: :top)
    rescue StandardError
      ["#{@error.class}: #{ErrorReport.message(@error)}", *@error.backtrace].join("\n    ")
    end

    private

    def frames(error)
      own = own_frames(error)
      own = error.backtrace&.take(1) || [] if own.empty?
      shown = own.take(MOST).map { |line| "from #{ErrorReport.shorten(line)}" }
      own.size > MOST ? [*shown, "… and #{own.size - MOST} more (-v shows all)"] : shown
    end
  end
end
