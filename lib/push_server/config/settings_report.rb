# frozen_string_literal: true

require_relative "../process/open_files"
require_relative "../process/socket_places"
require_relative "options"

module PushServer
  # What `push_server --check` prints: the settings in force with their sources, and what the limits mean with so many
  # workers.
  class SettingsReport
    # As the core has it: the least log of a worker (src/engine/hub/client/engine.rs).
    LEAST_LOG = 8 << 20
    # Columns.
    NAME = 22
    VALUE = 34
    MEMORY = 20
    TEXT = 42
    private_constant :LEAST_LOG, :NAME, :VALUE, :MEMORY, :TEXT

    # @param configuration [Configuration]
    # @param app [String] the path of the config.ru
    def initialize(configuration, app)
      @options = configuration.options
      @file = configuration.file
      @app = app
      @machine = NativeServer.machine
      @workers = @options[:workers]
    end

    # @return [Array<String>]
    def lines = [*heading, *settings, "", *memory, "", *disk, *descriptors]

    private

    def heading
      file = @file ? ErrorReport.shorten(@file) : "none"
      ["push_server #{VERSION} (ruby #{RUBY_VERSION})", "configuration file: #{file}", "app: #{@app}"]
    end

    def settings
      Options::TABLE.values.group_by(&:group).except(nil).flat_map do |group, options|
        ["", group, *options.map { |option| setting(option) }]
      end
    end

    def setting(option)
      value = decided(option.name) || option.human_value(@options[option.name])
      "  #{option.name.to_s.ljust(NAME)} #{value.ljust(VALUE)} #{@options.source(option.name) || "default"}".scrub.rstrip
    end

    # What counts if an option has no value.
    def decided(name)
      case name
      when :bind then @options.binds.join(", ")
      when :config then @file ? ErrorReport.shorten(@file) : "none"
      when :directory then @options[name] || Dir.pwd
      when :tag then @options.tag(SocketPlaces.current_folder)
      when :restart_overlap then (@options[:preload] ? "all" : "1") unless @options[name]
      when :max_queued_total, :max_spooled_total then human(share(name))
      end
    end

    # Processes that serve.
    def servers = [@workers, 1].max

    def memory
      rows = @workers.zero? ? [row("channel_memory", @options[:channel_memory], "")] : cluster_rows
      rows << row("max_queued_total", servers * share(:max_queued_total), each(share(:max_queued_total)))
      sum = rows.sum(&:first)
      ["Memory that these limits allow, beside the app's own", *rows.map(&:last), row("sum", sum, "").last, *too_much(sum)]
    end

    def cluster_rows
      whole = @options[:channel_memory]
      log = [whole / @workers, [LEAST_LOG, whole].min].max
      [row("channel_memory", whole, "in the hub"), row("channel_memory", @workers * log, each(log)),
       row("publish_queue_bytes", @workers * @options[:publish_queue_bytes], each(@options[:publish_queue_bytes]))]
    end

    def each(bytes) = @workers.zero? ? "" : "in the workers, #{human(bytes)} each"

    # [bytes, line]
    def row(name, bytes, text) = [bytes, "  #{name.ljust(MEMORY)} #{text.ljust(TEXT)} #{human(bytes).rjust(10)}"]

    # What each serving process has of a limit whose default is a part of the machine.
    def share(name) = @options[name] || @options.settings(processes: servers)[name] || @machine.fetch(name)

    def too_much(sum)
      memory = @machine[:memory]
      return [] unless memory && sum > memory

      ["  This is more than the #{human(memory)} of this machine or container: lower the limits, or the number of workers"]
    end

    def disk
      bytes = servers * share(:max_spooled_total)
      ["Request bodies in temporary files: at most #{human(bytes)} in #{ENV.fetch("TMPDIR", "/tmp")} (max_spooled_total)"]
    end

    def descriptors
      hard = OpenFiles.most
      wanted = @options[:max_connections]
      fit = OpenFiles.connections
      whose = @workers.zero? ? "The server" : "Each of the #{@workers} workers"
      if fit >= wanted
        ["#{whose} can have #{wanted} connections (max_connections); a process may have #{hard} open files"]
      else
        ["#{whose} can have only #{fit} connections, not #{wanted} (max_connections), because a process may have #{hard} open " \
         "files: raise that limit (ulimit -n, LimitNOFILE)"]
      end
    end

    def human(bytes)
      unit, size = { "GiB" => 1 << 30, "MiB" => 1 << 20, "KiB" => 1 << 10 }.find { |_, least| bytes >= least }
      unit ? "#{format("%.1f", bytes.fdiv(size)).delete_suffix(".0")} #{unit}" : "#{bytes} bytes"
    end
  end
end
