# frozen_string_literal: true

require "shellwords"
require_relative "error"

module Bench
  # A server that can be started: a name, and a command line with placeholders.
  class Server
    PLACEHOLDERS = %w[app bind cert key port threads].freeze
    SHAPE = "--against wants 'name=command with %{port} or %{bind}', and perhaps %{app}, %{threads}, %{cert} and %{key}"
    private_constant :PLACEHOLDERS, :SHAPE

    # @return [String]
    attr_reader :name
    # @return [Array<String>] the words of the command line, with placeholders such as %{port}
    attr_reader :command
    # @return [Hash{String => String}] variables that it needs besides this process's environment
    attr_reader :environment
    # @return [String, nil] nil if not known
    attr_reader :version
    # @return [Boolean] whether it understands the options of push_server
    attr_reader :takes_options

    # @param text [String] "name=command with %{port}"
    # @return [Server]
    # @raise [Error]
    def self.parse(text)
      name, command = text.split("=", 2).map(&:strip)
      raise Error, "'#{text}' is no server: #{SHAPE}" if command.nil? || name.empty?

      unknown = command.scan(/%\{(.*?)\}/).flatten - PLACEHOLDERS
      raise Error, "the command of #{name} has %{#{unknown.first}}, which means nothing: #{SHAPE}" if unknown.any?
      raise Error, "the command of #{name} has no %{port}: #{SHAPE}" unless command.match?(/%\{(port|bind)\}/)

      new(name, command.shellsplit)
    rescue ArgumentError => e
      raise Error, "the command of #{name} cannot be read: #{e.message}"
    end

    def initialize(name, command, environment: {}, version: nil, takes_options: false)
      @name = name
      @command = command
      @environment = environment
      @version = version
      @takes_options = takes_options
    end

    # @param options [Array<String>] for push_server
    # @return [Array<String>] the words of a command line that starts it
    def command_line(options = [], **values)
      words = command.map { |word| word.gsub(/%\{(\w+)\}/) { values.fetch(Regexp.last_match(1).to_sym).to_s } }
      takes_options ? words + options : words
    end
  end
end
