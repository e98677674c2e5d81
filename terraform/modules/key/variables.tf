variable "name" {
  description = "Name of the alias, without `alias/`, e.g. `fleet/eu`."
  type        = string
  validation {
    condition     = can(regex("^fleet/[a-z][a-z0-9/-]{0,60}$", var.name))
    error_message = "The name begins with fleet/ and has small letters, digits, slashes and dashes."
  }
}

variable "description" {
  description = "What the key protects, for whoever finds it in the console."
  type        = string
  validation {
    condition     = length(var.description) > 0
    error_message = "Say what the key protects."
  }
}

variable "deletion_window_days" {
  description = "Days between the order to destroy the key and its destruction, in which it can be taken back."
  type        = number
  default     = 30
  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "AWS allows 7 to 30 days."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
