# frozen_string_literal: true

require_relative "link"

module PushServer
  # What a process was started for by another process of the same server, and its link to that process. Both come from
  # environment variables, which this removes, so that programs that the app starts do not see them.
  #
  # The roles are "leader", "worker" and "check". A process that a user has started has no role.
  class Role
    # The environment variables.
    NAME = "PUSH_SERVER_ROLE"
    LINK = "PUSH_SERVER_LINK"
    VARIABLES = [NAME, LINK].freeze

    class << self
      # The role of this process. To be called before the app is loaded.
      # @return [Role, nil]
      def current
        @current = take(ENV) unless defined?(@current)
        @current
      end

      # @param env [#delete] the environment variables
      # @return [Role, nil]
      # @raise [Error] if the link is missing
      def take(env)
        name, link = VARIABLES.map { |variable| env.delete(variable) }
        name && new(name, Link.for_fd(Integer(link, 10)))
      rescue ArgumentError, TypeError, SystemCallError
        raise Error, "the variable #{NAME} is only for push_server itself: remove it from the environment"
      end

      # The variables that give a child its role.
      # @param link [Link, IO] the child's end
      # @return [Hash{String => String}]
      def environment(name, link) = { NAME => name.to_s, LINK => link.to_io.fileno.to_s }
    end

    # @return [String] "leader", "worker" or "check"
    attr_reader :name
    # @return [Link] to the process that has started this one
    attr_reader :link

    def initialize(name, link)
      @name = name
      @link = link
    end

    # Whether this process only checks that the configuration and the app can be loaded.
    def check? = name == "check"
  end
end
