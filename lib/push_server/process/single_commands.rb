# frozen_string_literal: true

require_relative "../errors"
require_relative "backtraces"

module PushServer
  # What the commands do with a server that is a single process: the target of a {ControlServer}. One thread.
  class SingleCommands
    ONE_PROCESS = "this server is one process, which cannot be replaced while it serves. `push_server restart` restarts " \
                  "it, and lets new connections wait meanwhile; with workers (-w 1 suffices), there is a phased restart"
    NO_WORKERS = "this server is one process without workers. Start it with the option workers (-w N) to have some"
    private_constant :ONE_PROCESS, :NO_WORKERS

    # @param actions [Hash{Symbol => #call}] `stop` and `restart`, each called with the reply that they are to end;
    #   `reload`; `stats` and `status`, which return a Hash
    def initialize(**actions)
      @actions = actions
    end

    # What each command does. Some begin only, and the reply is ended later.
    # @param reply [ControlServer::Reply]
    def stop(reply) = @actions.fetch(:stop).call(reply)
    def restart(reply) = @actions.fetch(:restart).call(reply)
    def stats(reply) = reply.done(**@actions.fetch(:stats).call)
    def status(reply) = reply.done(**@actions.fetch(:status).call)
    def backtraces(reply) = reply.done(threads: Backtraces.log)

    # Opens log files anew.
    def reload(reply)
      @actions.fetch(:reload).call
      reply.done
    end

    # What a server without workers refuses.
    # @raise [Error] always
    def phased_restart(_reply) = raise(Error, ONE_PROCESS)
    def change_workers(_reply, _change) = raise(Error, NO_WORKERS)
    def drain_worker(_reply, _worker) = raise(Error, NO_WORKERS)
  end
end
