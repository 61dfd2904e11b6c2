# frozen_string_literal: true

require_relative "crossing/app"
require_relative "crossing/visitors"
require_relative "crossing/round"
